"""docs/comfyui.md step by step: nodes where it puts them, files where it says, the video where it will be.

The engine that all these files run in is set up by the page's first step; see `engine.start`.
"""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import engine
import nodes
from aiohttp import web
from app.custom_node_manager import CustomNodeManager
from engine_workflows import place, small
from families import Family
from workflows import EXAMPLES, FOLDER, page_of

PAGE = (engine.PACK.parents[1] / "docs" / "comfyui.md").read_text()
BASE = Path(os.environ.get(engine.BASE, "."))


def rows(first: str) -> list[list[str]]:
    """The rows of the table whose header begins so."""
    _, _, rest = PAGE.partition(f"| {first} |")
    lines = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]


def test_the_first_step_is_how_these_nodes_got_here() -> None:
    commands = re.findall(r"^    (.*)$", PAGE, re.MULTILINE)
    assert commands[0] == "cp -r path/to/genrender/integrations/comfyui custom_nodes/comfyui-genrender"
    assert (BASE / "custom_nodes" / "comfyui-genrender" / "pyproject.toml").is_file()
    assert "GenRenderSurfaceInjection" in nodes.NODE_CLASS_MAPPINGS


def test_the_second_and_fourth_step_make_a_video(sd15: Family) -> None:
    graph = EXAMPLES["surface_video_sd15"]
    asked = {value for _, given in graph.values() for value in given.values() if isinstance(value, str)}
    files = {name.strip("`"): folder.strip("`") for name, folder in rows("file")}
    assert files.keys() <= asked
    page = page_of(graph)
    place(sd15, page)
    for name, folder in files.items():
        assert (BASE / folder / name).is_file()
    shutil.rmtree(BASE / "output", ignore_errors=True)
    engine.run_workflow(small(page))
    (said,) = re.findall(r"as `(genrender_\d+_\.mp4)`", PAGE)
    assert (BASE / "output" / said).stat().st_size > 0


async def templates() -> Any:
    """What ComfyUI's page offers under Browse Templates."""
    routes, app = web.RouteTableDef(), web.Application()
    CustomNodeManager().add_routes(routes, app, [])
    handler = next(one.handler for one in routes if getattr(one, "path", "") == "/workflow_templates")
    return await handler(None)


def test_the_third_step_finds_the_templates() -> None:
    offered = json.loads(asyncio.run(templates()).text)["comfyui-genrender"]
    told = [name.strip("`") for name, _ in rows("template")]
    assert sorted(told) == sorted(offered) == sorted(EXAMPLES)
    assert all((FOLDER / f"{name}.jpg").stat().st_size > 10_000 for name in told)


def test_the_page_names_all_nodes() -> None:
    shown = [
        engine.node(name).GET_SCHEMA().display_name
        for name in nodes.NODE_CLASS_MAPPINGS
        if "GenRender" in name
    ]
    assert sorted(name for name, *_ in rows("node")) == sorted(shown)

"""ComfyUI's engine without its server: its own loader of nodes, its own executor of workflows."""

import asyncio
import importlib
import os
import shutil
import sys
import types
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import torch

FOLDER = "GENRENDER_COMFYUI"  # the environment's: where ComfyUI lies
BASE = "GENRENDER_COMFYUI_BASE"  # where its models, inputs and outputs go
PACK = Path(__file__).parents[3] / "integrations" / "comfyui"
# Of ComfyUI's own nodes beside the basic ones.
EXTRAS = ("nodes_custom_sampler", "nodes_pag", "nodes_freelunch", "nodes_controlnet", "nodes_video")


def start() -> None:
    """Makes `comfy`, `nodes` and `execution` importable, with all nodes loaded."""
    # Their compiled parts may want CUDA's PyTorch; nothing here uses them, but ComfyUI imports them.
    for name in ("torchaudio", "torchaudio.functional", "torchaudio.transforms"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)
    vars(sys.modules["torchaudio.transforms"])["MelScale"] = None
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
    sys.path.insert(0, os.environ[FOLDER])
    sys.argv = [
        "comfyui",
        "--cpu",
        "--base-directory",
        os.environ[BASE],
        "--database-url",
        "sqlite:///:memory:",
    ]
    importlib.import_module("comfy.options").enable_args_parsing()
    # Before `nodes`, as ComfyUI itself does: that puts another `utils` in front.
    importlib.import_module("utils.json_util")
    import comfy.utils
    import nodes

    comfy.utils.PROGRESS_BAR_ENABLED = False
    for extra in EXTRAS:
        path = Path(os.environ[FOLDER], "comfy_extras", f"{extra}.py")
        assert asyncio.run(nodes.load_custom_node(str(path), module_parent="comfy_extras")), extra
    # As docs/comfyui.md says.
    installed = Path(os.environ[BASE], "custom_nodes", "comfyui-genrender")
    shutil.copytree(PACK, installed, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    asyncio.run(nodes.init_external_custom_nodes())
    assert "GenRenderLoadScene" in nodes.NODE_CLASS_MAPPINGS


class Server:
    """What the executor tells a page about, and nobody is looking."""

    client_id = last_node_id = None

    def send_sync(self, *_: Any) -> None:
        pass


def run_workflow(prompt: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Runs a workflow in the form that the API takes; returns each node's outputs.

    Raises:
        AssertionError: ComfyUI refuses it, or a node fails; with what it says.
    """
    import execution

    prompt = dict(prompt)
    valid, error, outputs, node_errors = asyncio.run(execution.validate_prompt("test", prompt, None))
    assert valid, (error, node_errors)
    cache = {"lru": 0, "ram": 0.0, "ram_inactive": 0.0}
    executor = execution.PromptExecutor(Server(), cache_type=execution.CacheType.CLASSIC, cache_args=cache)
    executor.execute(prompt, "test", {}, outputs)
    failed = [data for event, data in executor.status_messages if event == "execution_error"]
    assert not failed, "\n".join([failed[0]["exception_message"], *failed[0]["traceback"]])
    results = {name: asyncio.run(executor.caches.outputs.get(name)) for name in prompt}
    return {name: result.outputs for name, result in results.items() if result is not None}


def node(name: str) -> Any:
    """A node's class, as a workflow names it."""
    import nodes

    return nodes.NODE_CLASS_MAPPINGS[name]


def call(name: str, **inputs: Any) -> tuple[Any, ...]:
    """The outputs of a node, called as the executor calls it."""
    kind = node(name)
    if hasattr(kind, "define_schema"):
        return kind.execute(**inputs).args
    return getattr(kind(), kind.FUNCTION)(**inputs)

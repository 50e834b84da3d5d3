"""The example workflows, in ComfyUI's own executor, with tiny checkpoints under the names they ask for."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import engine
import numpy as np
import pocket_nodes
import pytest
import torch
from families import SCENE, Family
from safetensors.torch import save_file
from tiny_checkpoints import save_controlnet
from workflows import EXAMPLES, FOLDER, page_of, prompt_of, text_of

from genrender.gbuffer.exr.frame import write_exr
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip

BASE = Path(os.environ.get(engine.BASE, "."))
# What makes a workflow cheap; all else stays as it is in the file.
SMALL = {"width": 64, "height": 64, "frames": 4, "steps": 2, "sampler_name": "euler_ancestral", "chunk": 2}


def small(page: dict[str, Any]) -> dict[str, Any]:
    """A stored workflow as the page would send it, with a small picture and few steps."""
    prompt = prompt_of(page)
    for node in prompt.values():
        node["inputs"] |= {name: SMALL[name] for name in node["inputs"] if name in SMALL}
    return prompt


def place(family: Family, page: dict[str, Any]) -> None:
    """Puts the tiny weights where a workflow looks for its models."""
    models = BASE / "models"
    names = {node["type"]: node["widgets_values"][0] for node in page["nodes"] if node["widgets_values"]}
    for folder in ("checkpoints", "controlnet", "loras"):
        (models / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(family.checkpoint, models / "checkpoints" / names["CheckpointLoaderSimple"])
    save_controlnet(models / "controlnet" / names["ControlNetLoader"], family.controlnet)
    if "LoraLoader" in names:
        save_file(tiny_lora(family), models / "loras" / names["LoraLoader"])
    (BASE / "input" / "passes").mkdir(parents=True, exist_ok=True)
    shutil.copy(SCENE, BASE / "input")


def tiny_lora(family: Family) -> dict[str, torch.Tensor]:
    torch.manual_seed(8)
    layer = "lora_unet_output_blocks_0_1_transformer_blocks_0_attn1_to_q"
    width = family.unet.config.block_out_channels[-1]
    return {
        f"{layer}.lora_down.weight": torch.randn(4, width),
        f"{layer}.lora_up.weight": torch.randn(width, 4),
        f"{layer}.alpha": torch.tensor(4.0),
    }


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_its_graph_says_and_runs(families: Callable[[str], Family], name: str) -> None:
    stored = (FOLDER / f"{name}.json").read_text()
    assert stored == text_of(EXAMPLES[name])
    page = json.loads(stored)
    place(families("sdxl" if "sdxl" in name else "sd15"), page)
    if "exr" in name:
        clip = render_clip(load_scene(SCENE), ShotConfig(size=(64, 64), animation="Walk", n_frames=4))
        for frame, gbuffer in enumerate(clip.gbuffers):
            write_exr(BASE / "input" / "passes" / f"frame_{frame:04d}.exr", gbuffer)
    before = set((BASE / "output").glob("*.mp4"))
    outputs = engine.run_workflow(small(page))
    kinds = {str(node["id"]): node["type"] for node in page["nodes"]}
    of = {kinds[number]: found for number, found in outputs.items()}
    images = of["GenRenderSurfaceLock"][0][0]
    assert images.shape == (4, 64, 64, 3)
    assert images.std() > 0.01
    assert json.loads(of["GenRenderSurfaceMetrics"][0][0])["sharpness"] > 0
    (video,) = set((BASE / "output").glob("*.mp4")) - before
    with av.open(str(video)) as file:
        assert len(list(file.decode(video=0))) == 4


def test_the_page_finds_its_widgets_again() -> None:
    graph = EXAMPLES["surface_video_sd15"]
    prompt = prompt_of(json.loads(json.dumps(page_of(graph))))
    numbers = {name: str(number) for number, name in enumerate(graph, start=1)}
    for name, (kind, given) in graph.items():
        node = prompt[numbers[name]]
        assert node["class_type"] == kind
        for input_, value in given.items():
            wanted = [numbers[value[0]], value[1]] if isinstance(value, tuple) else value
            assert node["inputs"][input_] == wanted


def test_masks_are_where_objects_are() -> None:
    clip, *_, masks, names = engine.call(
        "GenRenderRenderPasses",
        shot=engine.call(
            "GenRenderLoadScene",
            scene=str(SCENE), width=64, height=64, animation="Walk", frames=2, start="", fps=0.0,
            camera="static", ignore="", loop=False,
        )[0],
        control="normal",
        objects="*",
    )  # fmt: skip
    assert len(masks) == len(names) > 0
    covered = sum(masks).numpy()
    for frame, gbuffer in enumerate(clip.clip.gbuffers):
        assert np.array_equal(covered[frame] > 0, gbuffer.visible)


def test_frames_agree_with_a_model_that_paints() -> None:
    """The packaged model, as in the pictures beside the workflows, with fewer frames and steps."""
    pocket_nodes.register()
    graph = pocket_nodes.with_pocket(EXAMPLES["surface_video_sd15"], frames=3, steps=3)
    for name in ("video", "save"):
        del graph[name]
    shutil.copy(SCENE, BASE / "input")
    ours, alone = (
        pocket_nodes.named_outputs(each)["figures"] for each in (graph, pocket_nodes.without_us(graph))
    )
    assert ours[1][0] < alone[1][0] / 4

"""Workflows as ComfyUI's page stores them: the examples are written from here, and read back to be run.

GENRENDER_COMFYUI=... python tests/integrations/comfyui/workflows.py    # writes example_workflows/*.json
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import engine

FOLDER = engine.PACK / "example_workflows"
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3")
# Nodes by a name: their class, and their inputs: values, or (name, number of the output).
Graph = Mapping[str, tuple[str, Mapping[str, Any]]]

SCENE: Graph = {
    "scene": (
        "GenRenderLoadScene",
        {"scene": "walking_biped.glb", "width": 512, "height": 512, "animation": "Walk", "frames": 16},
    ),
    "passes": ("GenRenderRenderPasses", {"shot": ("scene", 0), "control": "depth"}),
}
MODEL: Graph = {
    "checkpoint": ("CheckpointLoaderSimple", {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"}),
    "positive": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "a bronze statue, studio light"}),
    "negative": ("CLIPTextEncode", {"clip": ("checkpoint", 1), "text": "blurry, low quality"}),
    "depth": ("ControlNetLoader", {"control_net_name": "control_v11f1p_sd15_depth_fp16.safetensors"}),
    "steered": (
        "ControlNetApplyAdvanced",
        {
            "positive": ("positive", 0),
            "negative": ("negative", 0),
            "control_net": ("depth", 0),
            "image": ("passes", 1),
            "strength": 0.8,
        },
    ),
}
VIDEO: Graph = {
    "lock": ("GenRenderSurfaceLock", {"images": ("decode", 0), "clip": ("passes", 0)}),
    "figures": ("GenRenderSurfaceMetrics", {"images": ("lock", 0), "clip": ("passes", 0)}),
    "video": ("CreateVideo", {"images": ("lock", 0), "fps": ("scene", 2)}),
    "save": ("SaveVideo", {"video": ("video", 0), "filename_prefix": "genrender"}),
}
CUSTOM: Graph = {
    "noise": ("GenRenderSurfaceNoise", {"clip": ("passes", 0), "seed": 7}),
    "agree": ("GenRenderSurfaceInjection", {"model": ("checkpoint", 0), "clip": ("passes", 0), "seed": 7}),
    "guider": (
        "CFGGuider",
        {"model": ("agree", 0), "positive": ("steered", 0), "negative": ("steered", 1), "cfg": 7.0},
    ),
    "sampler": ("KSamplerSelect", {"sampler_name": "dpmpp_2m"}),
    "sigmas": ("BasicScheduler", {"model": ("agree", 0), "scheduler": "karras", "steps": 20}),
    "sample": (
        "SamplerCustomAdvanced",
        {
            "noise": ("noise", 0),
            "guider": ("guider", 0),
            "sampler": ("sampler", 0),
            "sigmas": ("sigmas", 0),
            "latent_image": ("noise", 1),
        },
    ),
    "decode": ("VAEDecode", {"samples": ("sample", 0), "vae": ("checkpoint", 2)}),
}
# A LoRA in between, and the plain sampler, whose own noise is off.
PLAIN: Graph = {
    "positive": (MODEL["positive"][0], {**MODEL["positive"][1], "clip": ("lora", 1)}),
    "negative": (MODEL["negative"][0], {**MODEL["negative"][1], "clip": ("lora", 1)}),
    "lora": (
        "LoraLoader",
        {"model": ("checkpoint", 0), "clip": ("checkpoint", 1), "lora_name": "ink.safetensors"},
    ),
    "noise": (
        "GenRenderSurfaceNoise",
        {"clip": ("passes", 0), "seed": 7, "model": ("lora", 0)},
    ),
    "agree": ("GenRenderSurfaceInjection", {"model": ("lora", 0), "clip": ("passes", 0), "seed": 7}),
    "sample": (
        "KSamplerAdvanced",
        {
            "model": ("agree", 0),
            "add_noise": "disable",
            "noise_seed": 7,
            "sampler_name": "euler_ancestral",
            "scheduler": "normal",
            "positive": ("steered", 0),
            "negative": ("steered", 1),
            "latent_image": ("noise", 2),
        },
    ),
    "decode": ("VAEDecode", {"samples": ("sample", 0), "vae": ("checkpoint", 2)}),
}
XL = {
    "checkpoint": (MODEL["checkpoint"][0], {"ckpt_name": "sd_xl_base_1.0.safetensors"}),
    "depth": (MODEL["depth"][0], {"control_net_name": "diffusers_xl_depth_full.safetensors"}),
    "scene": (SCENE["scene"][0], {**SCENE["scene"][1], "width": 1024, "height": 1024, "camera": "orbit"}),
}
EXR = {
    "scene": ("GenRenderLoadPasses", {"passes": "passes"}),
}
EXAMPLES: dict[str, Graph] = {
    "surface_video_sd15": {**SCENE, **MODEL, **CUSTOM, **VIDEO},
    "surface_video_sdxl_lora": {**SCENE, **MODEL, **PLAIN, **VIDEO, **XL},
    "surface_video_from_exr": {**SCENE, **MODEL, **CUSTOM, **VIDEO, **EXR},
}


def inputs_of(kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, type and options of a node's inputs, in the page's order."""
    inputs = engine.node(kind).INPUT_TYPES()
    for part in ("required", "optional"):
        for name, (type_, *options) in inputs.get(part, {}).items():
            told = dict(options[0]) if options else {}
            # Older nodes name the choices where the type is expected.
            yield (
                (name, "COMBO", {"options": type_, **told})
                if isinstance(type_, list)
                else (name, type_, told)
            )


def is_widget(type_: str, options: Mapping[str, Any]) -> bool:
    return type_.split(",")[0] in WIDGETS and not options.get("forceInput")


def is_controlled(name: str, options: Mapping[str, Any]) -> bool:
    """Whether the page has a widget behind this one that says what becomes of the value after a run.

    It goes by the name, too (its function that makes widgets, frontend 1.47), and so has to what is stored.
    """
    return name in ("seed", "noise_seed") or bool(options.get("control_after_generate"))


def page_of(graph: Graph) -> dict[str, Any]:
    """A graph as the page stores it."""
    numbers = {name: number for number, name in enumerate(graph, start=1)}
    nodes, links, column = [], [], {}
    for name, (kind, given) in graph.items():
        sources = [value[0] for value in given.values() if isinstance(value, tuple)]
        column[name] = 1 + max((column.get(source, 0) for source in sources), default=-1)
        row = sum(column[other] == column[name] for other in column) - 1
        slots, widgets = [], []
        for at, (input_, type_, options) in enumerate(inputs_of(kind)):
            value = given.get(input_)
            slot: dict[str, Any] = {"name": input_, "type": type_, "link": None}
            if is_widget(type_, options):
                slot["widget"] = {"name": input_}
                choices = options.get("options") or [None]
                usual = options.get("default", choices[0])
                usual = usual["key"] if isinstance(usual, dict) else usual
                widgets.append(usual if value is None or isinstance(value, tuple) else value)
                if is_controlled(input_, options):
                    widgets.append("fixed")
            if isinstance(value, tuple):
                slot["link"] = len(links) + 1
                links.append([slot["link"], numbers[value[0]], value[1], numbers[name], at, type_])
            slots.append(slot)
        nodes.append(
            {
                "id": numbers[name],
                "type": kind,
                "pos": [60 + 380 * column[name], 60 + 330 * row],
                "size": [320, 280],
                "flags": {},
                "order": numbers[name] - 1,
                "mode": 0,
                "inputs": slots,
                "outputs": [{"name": told, "type": type_, "links": []} for told, type_ in outputs_of(kind)],
                "properties": {"Node name for S&R": kind},
                "widgets_values": widgets,
            }
        )
    for number, source, output, *_ in links:
        nodes[source - 1]["outputs"][output]["links"].append(number)
    return {
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def outputs_of(kind: str) -> Iterator[tuple[str, str]]:
    node = engine.node(kind)
    yield from zip(getattr(node, "RETURN_NAMES", node.RETURN_TYPES), node.RETURN_TYPES, strict=True)


def prompt_of(page: Mapping[str, Any]) -> dict[str, Any]:
    """What the page sends to the executor, from what it stores."""
    source = {link[0]: [str(link[1]), link[2]] for link in page["links"]}
    prompt = {}
    for node in page["nodes"]:
        values, inputs = iter(node["widgets_values"]), {}
        slots = {slot["name"]: slot for slot in node["inputs"]}
        for name, type_, options in inputs_of(node["type"]):
            if is_widget(type_, options):
                inputs[name] = next(values)
                if is_controlled(name, options):
                    assert next(values) == "fixed"
            link = slots.get(name, {}).get("link")
            if link is not None:
                inputs[name] = source[link]
        assert next(values, None) is None, f"{node['type']} has widgets that are not known"
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def text_of(graph: Graph) -> str:
    return json.dumps(page_of(graph), indent=1) + "\n"


def write_examples(folder: Path = FOLDER) -> None:
    for name, graph in EXAMPLES.items():
        (folder / f"{name}.json").write_text(text_of(graph))


if __name__ == "__main__":
    engine.start()
    write_examples()

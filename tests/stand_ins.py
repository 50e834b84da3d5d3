"""What the docs' commands are run with in place of the reader's own files: scenes, passes and small models.

Everything is made here, under the names that the pages use, so that a command can be run as it is typed.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from scene.gltf_builder import SQUARE, GltfBuilder
from scene.whole_scenes import EXAMPLES
from tiny_adapters import (
    UNET_LAYERS,
    kohya_names,
    lora,
    made,
    save_ip_adapter,
    save_kohya,
    tiny_image_encoder,
)
from tiny_controls import other_controlnet, tiny_union
from tiny_models import TEXT_WIDTH, tiny_unet
from tiny_sdxl import SDXL_UNET
from tiny_sources import save_sd, save_sdxl

from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Recipe
from genrender.cli import main as genrender
from genrender.scene.procedural.primitives import box

SCENES = [
    "my_scene",
    "my_character",
    "scene",
    "fox",
    "Fox",
    "shot",
    "shot1",
    "shot2",
    "truck",
    "SCENE",
    "shot/scene",
    "exported/scene",
]
# What a page calls it, and what stands in.
WORDS = {
    "...": "a red fox on a green background",
    "TEXT": "a red fox on a green background",
    "SCENE": "SCENE.glb",
    "shot/scene.usda": "shot/scene.glb",
    "/projects/shared": "library",
    "path/to/a/diffusers/folder": "sd",
    "sd15": "sd",
    "model": "none",  # --offload: there may be no graphics card
    "my_sd15": "sd",
    "sdxl-folder": "sdxl",
    "models/anything.safetensors": "sd",
    "models/depth.safetensors": "sd/controlnet",
    "owner/name": "inkwash.safetensors",
    "madebyollin/taesd": "taesd",
}
# Likewise, on one page alone.
OF_PAGES = {"farm": {"512": "192"}}  # as many as the parts have that the page shows
PARTS = {
    "lllyasviel/control_v11f1p_sd15_depth": "sd/controlnet",
    "xinsir/controlnet-union-sdxl-1.0": "union",
    "IP-Adapter/models/ip-adapter_sd15.safetensors": "ip/look.safetensors",
}


def stand_in(word: str, page: str) -> str:
    """A word of a command of a page with the files that are here."""
    word = OF_PAGES.get(page, {}).get(word, word)
    for told, made_here in PARTS.items():
        word = word.replace(told, made_here)
    return WORDS.get(word, word)


def make_all(folder: Path) -> None:
    """Lays everything into `folder`, which the commands are run in."""
    for name in SCENES:
        (folder / name).parent.mkdir(exist_ok=True)
        _scene().save(folder / f"{name}.glb")
    for name in ("library", "frames", "renders", "models"):
        (folder / name).mkdir()
    corners = "".join(f"vt {u} {v}\n" for u, v in ((0, 0), (1, 0), (0, 1)))
    for number in range(1, 6):
        verts = f"v 0 0 {number}\nv 1 0 0\nv 0 1 0\n"
        (folder / "frames" / f"wave_{number:04d}.obj").write_text(f"{verts}{corners}f 1/1 2/2 3/3\n")
    passes = folder / "passes"
    biped = EXAMPLES / "walking_biped.glb"
    times = "0,0.04,0.08"
    assert genrender(["gbuffers", str(biped), "--out", str(passes), "--size", "64", "--times", times]) == 0
    for number, file in enumerate(sorted(passes.glob("*.exr")), 1):
        shutil.copy(file, folder / "renders" / f"shot_{number:04d}.exr")
    line = {"scene": "fox.glb", "prompt": "a red fox", "frames": 3, "steps": 1, "size": "64"}
    (folder / "JOBS.jsonl").write_text(json.dumps(line))
    (folder / "map.json").write_text(json.dumps({"depth": "Depth.Z"}))
    eyes = ([3, 1, 3], [-3, 1, 3])
    path = [{"time": time, "eye": eye, "target": [0, 0.5, 0]} for time, eye in enumerate(eyes)]
    (folder / "orbit.json").write_text(json.dumps(path))
    _models(folder)


def _scene() -> GltfBuilder:
    """A fox that runs, and what else pages name: a ground, a car with wheels and glass, a house, cameras."""
    builder = GltfBuilder()
    names = ["fur", "ground", "truck", "wheels", "glass", "window_trim", "bricks"]
    builder.doc["materials"] = [{"name": name} for name in names]
    builder.doc["cameras"] = [
        {"type": "perspective", "perspective": {"yfov": 0.8, "znear": 0.1, "aspectRatio": 16 / 9}}
    ]
    square = {"positions": SQUARE, "indices": [0, 1, 2, 2, 1, 3]}
    things = [
        ("Ground", "ground", [-4, 0, -4], [8, 8, 1], [-(0.5**0.5), 0, 0, 0.5**0.5]),
        ("Car", "truck", [1, 0.5, 0], [0.6, 0.6, 0.6], None),
        ("Wheel_1", "wheels", [1, 0.1, 0.4], [0.2, 0.2, 0.2], None),
        ("Wheel_2", "wheels", [1, 0.1, -0.4], [0.2, 0.2, 0.2], None),
        ("Window", "glass", [1, 0.9, 0], [0.3, 0.2, 0.3], None),
        ("Trim", "window_trim", [1, 0.8, 0], [0.35, 0.05, 0.35], None),
        ("House_1", "bricks", [-1, 0.6, -1], [0.8, 1.2, 0.8], None),
        ("Fox", "fur", [0, 0.4, 0], [0.4, 0.4, 0.8], None),
    ]
    for name, material, place, scale, turn in things:
        part = box([1, 1, 1])
        attributes = {"TEXCOORD_0": builder.accessor(part.uvs)}
        shape = square if turn else {"positions": part.verts, "indices": part.tris.ravel()}
        if turn:
            attributes = {"TEXCOORD_0": builder.accessor([[0, 0], [1, 0], [0, 1], [1, 1]])}
        mesh = builder.mesh(**shape, attributes=attributes, name=name)
        builder.doc["meshes"][mesh]["primitives"][0]["material"] = names.index(material)
        where = {"rotation": turn} if turn else {}
        fox = builder.node(mesh=mesh, name=name, translation=place, scale=scale, **where)
    for name in ("Dolly", "Shot Cam"):
        builder.node(camera=0, name=name, translation=[0, 1, 5])
    times = np.arange(25) / 24
    places = np.stack([0 * times, 0.4 + 0.1 * np.sin(6 * times), times], axis=1)
    builder.animate("Run", [(fox, "translation", times, places, "LINEAR")])
    return builder


def _models(folder: Path) -> None:
    save_sd(folder / "sd")
    # Models that people have tell the size of their pictures.
    told = folder / "sd" / "unet" / "config.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"sample_size": 32}))
    save_sdxl(folder / "sdxl")
    tiny_union(tiny_unet(**SDXL_UNET)).save_pretrained(folder / "union")
    plain = load_networks(Recipe(str(folder / "sd"), device="cpu", precision="float32"))
    other_controlnet(plain.unet).save_pretrained(folder / "models" / "depth")
    adapter = made(plain, kohya_names(UNET_LAYERS, ["lora_te"]), lora)
    save_kohya(folder / "inkwash.safetensors", adapter)
    save_file({"emb_params": torch.randn(2, TEXT_WIDTH)}, folder / "style.safetensors")
    save_ip_adapter(folder / "ip" / "look.safetensors", plain.unet)
    tiny_image_encoder().save_pretrained(folder / "ip" / "image_encoder")
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(folder / "look.png")
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8)
    ).save_pretrained(folder / "taesd")

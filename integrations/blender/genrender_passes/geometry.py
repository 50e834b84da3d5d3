"""The scene itself, as USD or glTF: the engine finds exact surface points in triangles."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import addon_utils
import bpy
from genrender_passes import SURFACES
from genrender_passes.objects import changing_faces, key, reachable
from genrender_passes.told import PassError, tell

NAMES = {"usd": "USD", "glb": "glTF"}


def check_faces(scene, layer, frames: Sequence[int], road: str) -> None:
    """Raises PassError where faces come and go, which the exporters leave out without a word."""
    things = [
        thing
        for thing in reachable(layer)
        if thing.type in SURFACES and thing.visible_camera and not thing.hide_render
    ]
    if names := sorted(thing.name for thing in changing_faces(scene, things, frames)):
        raise PassError(
            f"{NAMES[road]} holds no faces that change over time, as those of {', '.join(names)} do; "
            "choose passes by Cycles, or leave these out"
        )


def write(scene, request: dict[str, Any], folder: Path) -> None:
    """Exports a job's frames; the file is whole or not there.

    Raises:
        PassError: the exporter did not write it, or would leave something out.
    """
    unwanted = {tuple(one) for one in request["left_out"]}
    for thing in reachable(bpy.context.view_layer):
        if key(thing) in unwanted or not thing.visible_camera:
            thing.hide_render = True
    check_faces(scene, bpy.context.view_layer, request["frames"], request["road"])
    scene.frame_start, scene.frame_end, scene.frame_step = request["frames"][0], request["frames"][-1], 1
    # The camera's shape is that of the pictures.
    scene.render.resolution_x, scene.render.resolution_y = request["size"]
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = request["pixel_aspect"]
    scene.render.resolution_percentage = 100
    tell("progress", work=f"writing {request['road']}", done=0, total=1)
    (folder / "passes").mkdir(exist_ok=True)
    suffix = {"usd": ".usdc", "glb": ".glb"}[request["road"]]
    beside = folder / f"unfinished-{os.getpid()}{suffix}"
    EXPORTERS[request["road"]](beside)
    if not beside.is_file():
        raise PassError(f"Blender's exporter wrote no {suffix} file, see log.txt in {folder}")
    os.replace(beside, folder / "passes" / f"scene{suffix}")
    tell("progress", work=f"writing {request['road']}", done=1, total=1)


def _export_usd(file: Path) -> None:
    known = bpy.ops.wm.usd_export.get_rna_type().properties
    # Before Blender 4.4 they are left out, or copied.
    is_new = "export_textures_mode" in known
    without_textures = {"export_textures_mode": "KEEP"} if is_new else {"export_textures": False}
    bpy.ops.wm.usd_export(
        filepath=str(file),
        export_animation=True,
        # Off: points of every frame, with all modifiers. On: a skeleton, without the modifiers behind it.
        export_armatures=False,
        export_shapekeys=False,
        export_subdivision="TESSELLATE",  # else the cage alone, and word that it is to be subdivided
        allow_unicode=True,  # in names
        evaluation_mode="RENDER",
        **without_textures,
    )


def _export_glb(file: Path) -> None:
    addon_utils.enable("io_scene_gltf2")
    bpy.ops.export_scene.gltf(
        filepath=str(file),
        export_format="GLB",
        export_cameras=True,
        use_renderable=True,
        export_apply=True,
        # One animation that plays what the timeline plays, a key on every frame.
        export_animation_mode="SCENE",
        export_anim_scene_split_object=False,
        export_force_sampling=True,
        export_frame_range=True,
        export_optimize_animation_size=False,
    )


EXPORTERS = {"usd": _export_usd, "glb": _export_glb}

"""Which objects are seen."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy
from genrender_passes import SURFACES
from genrender_passes.told import PassError, tell

# What has no surface that texture coordinates could lie on.
NO_SURFACE = {
    "CURVES": "hair",
    "VOLUME": "a volume",
    "POINTCLOUD": "a point cloud",
    "GPENCIL": "grease pencil",
}
NO_SURFACE["GREASEPENCIL"] = NO_SURFACE["GPENCIL"]  # since Blender 4.3


def read_request(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "job.json").read_text(encoding="utf-8"))


def key(thing) -> tuple[str, str]:
    """What tells a datablock from others: its name, and the file of a linked one."""
    return thing.name, thing.library.filepath if thing.library else ""


def leave_out(scene, layer, left_out: list[list[str]]) -> None:
    """Hides objects from cameras: those that the user leaves out, and those without a surface.

    They stay in the scene, because others may be built upon them.

    Raises:
        PassError: nothing is left.
    """
    unwanted = {tuple(one) for one in left_out}
    hidden: dict[str, list[str]] = {}
    n_seen = 0
    for thing in reachable(layer):
        if key(thing) in unwanted:
            thing.visible_camera = False
        elif thing.type in NO_SURFACE:
            thing.visible_camera = False
            hidden.setdefault(NO_SURFACE[thing.type], []).append(thing.name)
        elif thing.type in SURFACES:
            n_seen += not thing.hide_render
            if _hide_strands(thing):
                hidden.setdefault("hair", []).append(thing.name)
    for what, names in hidden.items():
        tell(
            "warning",
            text=f"left out, because it has no surface to paint on: {what} ({', '.join(sorted(set(names)))})",
        )
    if not n_seen:
        raise PassError(f"scene {scene.name}: no object with a surface takes part; let one take part")


def reachable(layer) -> list:
    """The objects of a view layer, and those that its instances show."""
    found: dict = {}
    todo = list(layer.objects)
    while todo:
        thing = todo.pop()
        if thing in found:
            continue
        found[thing] = None
        if thing.instance_type == "COLLECTION" and thing.instance_collection is not None:
            todo += thing.instance_collection.all_objects
    return list(found)


def evaluated_now(thing):
    """An object behind all its modifiers."""
    return thing.evaluated_get(bpy.context.evaluated_depsgraph_get())


def changing_faces(scene, things: Sequence, frames: Sequence[int]) -> list:
    """The objects that have other numbers of vertices, corners or faces in the middle or at the end."""
    shapes: dict = {thing: set() for thing in things}
    for frame in (frames[len(frames) // 2], frames[-1], frames[0]):
        scene.frame_set(frame)
        for thing in things:
            evaluated = evaluated_now(thing)
            mesh = evaluated.to_mesh()
            shapes[thing].add(mesh and (len(mesh.vertices), len(mesh.loops), len(mesh.polygons)))
            evaluated.to_mesh_clear()
    return [thing for thing, seen in shapes.items() if len(seen) > 1]


def like_render(scene, layer) -> None:
    """Makes the viewport evaluate what a render does.

    Meshes that are looked at here, simulations and glTF files are then those that are rendered.
    """
    scene.render.simplify_subdivision = scene.render.simplify_subdivision_render
    for collection in [scene.collection, *scene.collection.children_recursive]:
        if collection is not scene.collection:
            collection.hide_viewport = collection.hide_render
    todo = [layer.layer_collection]
    while todo:
        one = todo.pop()
        one.hide_viewport = False
        todo += one.children
    for thing in reachable(layer):
        thing.hide_viewport = thing.hide_render
        if thing.name in layer.objects:
            thing.hide_set(False, view_layer=layer)
        for modifier in thing.modifiers:
            modifier.show_viewport = modifier.show_render
            if modifier.type in ("SUBSURF", "MULTIRES"):
                modifier.levels = modifier.render_levels
    layer.update()


def _hide_strands(thing) -> bool:
    """Switches particle systems off that show strands; those that show objects stay."""
    is_any = False
    for modifier in thing.modifiers:
        if modifier.type == "PARTICLE_SYSTEM":
            settings = modifier.particle_system.settings
            if settings.type == "HAIR" and settings.render_type == "PATH" and modifier.show_render:
                modifier.show_render = False
                is_any = True
    return is_any

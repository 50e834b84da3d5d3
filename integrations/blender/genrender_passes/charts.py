"""Texture coordinates where there are none, or charts lie over each other, behind all modifiers.

The evaluated mesh of the first frame is unwrapped, and a geometry nodes modifier behind all others gives
every corner the coordinates of the corner of the same number. So mirrored and repeated parts get charts of
their own, and the charts stay on the surface while it moves. All of it happens on a copy of the file.
"""

from collections.abc import Sequence

import bpy
from genrender_passes.objects import reachable
from genrender_passes.overlap import bad_share
from genrender_passes.told import tell

# Surface that shares its coordinates, or has none, above which there are new ones.
MOST_BAD = 0.05
CHARTS = "genrender_charts"


def make_charts(scene, layer, frames: Sequence[int], also_overlaps: bool) -> None:
    """Makes charts where they are missing, or would not do."""
    like_render(scene, layer)
    scene.frame_set(frames[0])
    things = [thing for thing in reachable(layer) if not thing.hide_render and thing.visible_camera]
    made: dict[str, list[str]] = {}
    changing, without = [], []
    for thing in things:
        if thing.type not in ("MESH", "CURVE", "SURFACE", "FONT", "META"):
            continue
        why = _why(thing, also_overlaps)
        if why is None:
            continue
        if thing.type != "MESH" and (thing.type == "META" or not _to_mesh(thing, layer)):
            without.append(thing.name)
            continue
        if _shape(thing) != _shape_at(scene, thing, frames[-1]) or _shape(thing) != _shape_at(
            scene, thing, frames[len(frames) // 2]
        ):
            changing.append(thing.name)
            continue
        scene.frame_set(frames[0])
        _chart(thing, scene)
        made.setdefault(why, []).append(thing.name)
    scene.frame_set(frames[0])
    for why, names in made.items():
        tell("note", text=f"new texture coordinates, because they {why}: {_listed(names)}")
    if changing or without:
        tell(
            "warning",
            text=f"no texture coordinates can be made for {_listed(changing + without)}, whose faces "
            "change over time: their look may swim",
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted(names))


def like_render(scene, layer) -> None:
    """Makes the viewport evaluate what a render does, so that meshes here are those that are rendered."""
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


def _evaluated(thing):
    return thing.evaluated_get(bpy.context.evaluated_depsgraph_get())


def _why(thing, also_overlaps: bool) -> str | None:
    """What is wrong with an object's coordinates, if anything is."""
    evaluated = _evaluated(thing)
    mesh = evaluated.to_mesh()
    try:
        if mesh is None or not mesh.polygons:
            return None
        if not mesh.uv_layers:
            return "were missing"
        if not also_overlaps and thing.type == "MESH":
            return None
        uv = next((one for one in mesh.uv_layers if one.active_render), mesh.uv_layers[0])
        return "lay over each other" if bad_share(mesh, uv) > MOST_BAD else None
    finally:
        evaluated.to_mesh_clear()


def _shape(thing) -> tuple[int, int, int]:
    """How many vertices, corners and faces an object has now."""
    evaluated = _evaluated(thing)
    mesh = evaluated.to_mesh()
    counts = (len(mesh.vertices), len(mesh.loops), len(mesh.polygons))
    evaluated.to_mesh_clear()
    return counts


def _shape_at(scene, thing, frame: int) -> tuple[int, int, int]:
    scene.frame_set(frame)
    return _shape(thing)


def _to_mesh(thing, layer) -> bool:
    """Makes a curve, surface or text a mesh in its place; False where it cannot be told to be the same."""
    is_moving = thing.data.animation_data is not None or getattr(thing.data, "shape_keys", None) is not None
    if is_moving or thing.modifiers or thing.name not in layer.objects:
        return False
    with _alone(thing):
        bpy.ops.object.convert(target="MESH")
    return thing.type == "MESH"


def _alone(thing):
    """A context in which operators see one object."""
    for one in bpy.context.view_layer.objects:
        one.select_set(False)
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    return bpy.context.temp_override(
        object=thing, active_object=thing, selected_objects=[thing], selected_editable_objects=[thing]
    )


def _chart(thing, scene) -> None:
    if thing.library:
        thing.make_local()
    evaluated = _evaluated(thing)
    names = [uv.name for uv in evaluated.data.uv_layers if uv.active_render]
    mesh = bpy.data.meshes.new_from_object(evaluated, depsgraph=bpy.context.evaluated_depsgraph_get())
    while mesh.uv_layers:
        mesh.uv_layers.remove(mesh.uv_layers[0])
    mesh.uv_layers.new(name=CHARTS)
    model = bpy.data.objects.new(CHARTS, mesh)
    model.hide_render = True
    scene.collection.objects.link(model)
    with _alone(model):
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.reveal()
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(island_margin=0.002)
        bpy.ops.object.mode_set(mode="OBJECT")
    modifier = thing.modifiers.new(CHARTS, "NODES")
    modifier.node_group = _nodes(model, names[0] if names else "UVMap")


def _nodes(model, name: str):
    """Geometry nodes that store the coordinates of another object's corners, number by number."""
    group = bpy.data.node_groups.new(CHARTS, "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    node, link = group.nodes.new, group.links.new
    start, end = node("NodeGroupInput"), node("NodeGroupOutput")
    info, index, sample = (
        node("GeometryNodeObjectInfo"),
        node("GeometryNodeInputIndex"),
        node("GeometryNodeSampleIndex"),
    )
    charts, store = node("GeometryNodeInputNamedAttribute"), node("GeometryNodeStoreNamedAttribute")
    info.inputs["Object"].default_value = model
    charts.data_type = sample.data_type = "FLOAT_VECTOR"
    charts.inputs["Name"].default_value = CHARTS
    sample.domain = store.domain = "CORNER"
    store.data_type = "FLOAT2"
    store.inputs["Name"].default_value = name
    link(info.outputs["Geometry"], sample.inputs["Geometry"])
    link(_enabled(charts.outputs, "Attribute"), _enabled(sample.inputs, "Value"))
    link(index.outputs["Index"], sample.inputs["Index"])
    link(start.outputs[0], store.inputs["Geometry"])
    link(_enabled(sample.outputs, "Value"), _enabled(store.inputs, "Value"))
    link(store.outputs["Geometry"], end.inputs[0])
    return group


def _enabled(sockets, name: str):
    """The socket of the kind that is chosen; older versions have one for every kind."""
    return next(one for one in sockets if one.name == name and one.enabled)

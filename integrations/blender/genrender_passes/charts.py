"""Texture coordinates where there are none, or charts lie over each other, behind all modifiers.

The evaluated mesh of the first frame is unwrapped, and a geometry nodes modifier behind all others gives
every corner the coordinates of the corner of the same number. So mirrored and repeated parts get charts of
their own, and the charts stay on the surface while it moves. All of it happens on a copy of the file.
"""

from collections.abc import Sequence

import bpy
from genrender_passes import SURFACES
from genrender_passes.objects import changing_faces, evaluated_now, reachable
from genrender_passes.overlap import bad_share
from genrender_passes.told import tell

# Surface that shares its coordinates, or has none, above which there are new ones.
MOST_BAD = 0.05
CHARTS = "genrender_charts"
# Instances with more faces than this in all stay as they are.
MOST_FACES = 2_000_000


def make_charts(scene, layer, frames: Sequence[int], also_overlaps: bool) -> None:
    """Makes charts where they are missing, or would not do."""
    scene.frame_set(frames[0])
    things = [thing for thing in reachable(layer) if not thing.hide_render and thing.visible_camera]
    made: dict[str, list[str]] = {}
    changing, without = [], []
    realise_instances(things)
    for thing in things:
        if thing.type not in SURFACES:
            continue
        why = _why(thing, also_overlaps)
        if why is None:
            continue
        if thing.type != "MESH" and (thing.type == "META" or not _to_mesh(thing, layer)):
            without.append(thing.name)
            continue
        if changing_faces(scene, [thing], frames):
            changing.append(thing.name)
            continue
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


def realise_instances(things: Sequence) -> None:
    """Makes instances of nameless geometry part of the object whose geometry nodes make them.

    Instances of objects stay: they have the coordinates and the name of what they show.
    """
    wanted = dict.fromkeys(thing for thing in things if any(one.type == "NODES" for one in thing.modifiers))
    faces = dict.fromkeys(wanted, 0)
    for one in bpy.context.evaluated_depsgraph_get().object_instances:
        if one.is_instance and one.object.type == "MESH" and one.object.original == one.parent.original:
            thing = one.parent.original
            if thing in faces:
                faces[thing] += len(one.object.data.polygons)
    for thing, n_faces in faces.items():
        if n_faces > MOST_FACES:
            tell("warning", text=f"{thing.name}: its {n_faces} faces in instances are not unwrapped")
        elif n_faces:
            _local(thing)
            group, start, end = _group(CHARTS)
            real = group.nodes.new("GeometryNodeRealizeInstances")
            group.links.new(start.outputs[0], real.inputs[0])
            group.links.new(real.outputs[0], end.inputs[0])
            thing.modifiers.new(CHARTS, "NODES").node_group = group


def _local(thing) -> None:
    """Of this file, so that modifiers can be added; those of other files are read only."""
    if thing.library:
        thing.make_local()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted(names))


def _why(thing, also_overlaps: bool) -> str | None:
    """What is wrong with an object's coordinates, if anything is."""
    evaluated = evaluated_now(thing)
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
    _local(thing)
    evaluated = evaluated_now(thing)
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
    group, start, end = _group(CHARTS)
    node, link = group.nodes.new, group.links.new
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


def _group(name: str) -> tuple:
    """Geometry nodes with nothing between their input and output yet."""
    group = bpy.data.node_groups.new(name, "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    return group, group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")


def _enabled(sockets, name: str):
    """The socket of the kind that is chosen; older versions have one for every kind."""
    return next(one for one in sockets if one.name == name and one.enabled)

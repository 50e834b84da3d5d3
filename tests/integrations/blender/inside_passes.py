"""What the second Blender renders: the same as our own passes, and charts for all that needs some."""

import importlib
import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import bpy
import character
import numpy as np
import pytest

HERE = Path(__file__).parent


def render_passes(extension, scene) -> tuple[Path, list[dict]]:
    """A job's passes alone: its folder, and what was told."""
    folder = extension.ask.make_job(scene, bpy.context.view_layer, "video")
    command = [*extension.ask.programs(("",)).blender, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder, [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"event"')]


@pytest.mark.parametrize("road", ["usd", "glb"])
def test_our_passes_of_the_scene_agree_with_those_of_cycles(extension, scene, road):
    scene.genrender.size = 128
    bpy.data.objects[character.CHARACTER].genrender.prompt = "a man"
    small = bpy.data.objects.new("1 cube.001", bpy.data.objects[character.CRATE].data)
    small.location, small.scale, small.genrender.prompt = (-1, 0, 1), (0.3, 0.3, 0.3), "a cube"
    scene.collection.objects.link(small)
    cycles, _ = render_passes(extension, scene)
    scene.genrender.road = road
    exact, _ = render_passes(extension, scene)
    request = extension.job.Request.load(exact)
    paths = os.pathsep.join([str(HERE.parents[2] / "src"), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [
            os.environ["GENRENDER_PYTHON"],
            HERE / "agree.py",
            *(cycles / "passes", exact / request.passes, scene.camera.name),
            *(word.split("=")[1] for word in request.options if word.startswith("--prompt-for=")),
        ],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["patterns"] == 3
    assert told["other"] < 0.005
    assert told["deeper"] < 0.005
    assert told["off"] < 0.02
    assert told["n"] > 1000


@pytest.fixture
def second(extension, monkeypatch, capfd):
    """The second Blender's modules in this one, and what they tell."""
    monkeypatch.syspath_prepend(str(Path(extension.ask.__file__).parent))
    names = ("charts", "exr", "geometry", "objects", "overlap", "simulation")
    modules = {name: importlib.import_module(f"genrender_passes.{name}") for name in names}

    def told() -> list[str]:
        lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith('{"event"')]
        return [event["text"] for event in map(json.loads, lines) if "text" in event]

    return SimpleNamespace(**modules, told=told)


def evaluated(thing) -> tuple[np.ndarray, float]:
    """An object's texture coordinates behind all modifiers, and the share of them that will not do."""
    found = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = found.to_mesh()
    (layer,) = [one for one in mesh.uv_layers if one.active_render]
    uvs = np.empty(2 * len(mesh.loops), np.float32)
    layer.uv.foreach_get("vector", uvs)
    return uvs.reshape(-1, 2), importlib.import_module("genrender_passes.overlap").bad_share(mesh, layer)


def chart(second, scene, also_overlaps=True) -> list[str]:
    second.objects.like_render(scene, bpy.context.view_layer)
    second.charts.make_charts(scene, bpy.context.view_layer, range(*character.FRAMES), also_overlaps)
    return second.told()


def test_mirrored_halves_get_charts_that_stay_on_the_surface(scene, second):
    thing, crate = bpy.data.objects[character.CHARACTER], bpy.data.objects[character.CRATE]
    before = evaluated(crate)[0]
    assert chart(second, scene) == ["new texture coordinates, because they were missing: Läufer"]
    uvs, bad = evaluated(thing)
    assert bad < 0.02
    assert np.ptp(uvs, axis=0).min() > 0.5
    scene.frame_set(character.FRAMES[1])
    np.testing.assert_array_equal(evaluated(thing)[0], uvs)
    np.testing.assert_array_equal(evaluated(crate)[0], before)
    # The half has coordinates now, which the mirror puts over each other.
    half = bpy.data.objects[character.CHARACTER]
    half.modifiers.remove(half.modifiers[-1])
    half.data.uv_layers.new(name="Mine")
    assert chart(second, scene, also_overlaps=False) == []
    assert evaluated(half)[1] > 0.9
    assert chart(second, scene) == ["new texture coordinates, because they lay over each other: Läufer"]
    assert evaluated(half)[1] < 0.02


def test_what_has_no_mesh_of_its_own(scene, second):
    """A text, a tube, boxes that geometry nodes put in a row, and a ball that changes its faces."""
    bpy.ops.object.text_add()
    bpy.context.object.name = "Text"
    bpy.ops.curve.primitive_bezier_circle_add()
    tube = bpy.context.object
    tube.name, tube.data.bevel_depth = "Tube", 0.1
    row = rows_of_boxes(scene)
    bpy.ops.object.metaball_add()
    bpy.context.object.name = "Ball"
    grown = bpy.data.objects[character.CRATE]
    grown.data.uv_layers.remove(grown.data.uv_layers[0])
    repeat = grown.modifiers.new("Array", "ARRAY")
    for frame in character.FRAMES:
        repeat.count = frame
        repeat.keyframe_insert("count", frame=frame)
    told = chart(second, scene)
    assert "new texture coordinates, because they were missing: Läufer, Row" in told
    assert (
        "no texture coordinates can be made for Ball, Crate = [1], whose faces change over time" in told[-1]
    )
    for thing in (bpy.data.objects["Text"], bpy.data.objects["Tube"], row):
        assert evaluated(thing)[1] < 0.05, thing.name


def test_scene_files_hold_no_faces_that_change(scene, second):
    layer, frames = bpy.context.view_layer, range(*character.FRAMES)
    second.geometry.check_faces(scene, layer, frames, "usd")
    modifier = bpy.data.objects[character.CRATE].modifiers.new("Build", "BUILD")
    modifier.frame_start, modifier.frame_duration = character.FRAMES[0], 6
    with pytest.raises(Exception, match=r"^glTF holds no faces that change over time, as those of Crate = "):
        second.geometry.check_faces(scene, layer, frames, "glb")


def rows_of_boxes(scene):
    """An object that is nothing but instances."""
    thing = bpy.data.objects.new("Row", bpy.data.meshes.new("Row"))
    scene.collection.objects.link(thing)
    group = bpy.data.node_groups.new("Row", "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    kinds = (
        "GeometryNodeMeshLine",
        "GeometryNodeMeshCube",
        "GeometryNodeInstanceOnPoints",
        "NodeGroupOutput",
    )
    line, box, on_points, end = (group.nodes.new(kind) for kind in kinds)
    group.links.new(line.outputs[0], on_points.inputs["Points"])
    group.links.new(box.outputs[0], on_points.inputs["Instance"])
    group.links.new(on_points.outputs[0], end.inputs[0])
    thing.modifiers.new("Row", "NODES").node_group = group
    return thing


def test_hair_is_left_out_with_a_word_and_so_is_what_the_user_says(scene, second):
    crate = bpy.data.objects[character.CRATE]
    modifier = crate.modifiers.new("Fur", "PARTICLE_SYSTEM")
    modifier.particle_system.settings.type = "HAIR"
    scene.collection.objects.link(bpy.data.objects.new("Strands", bpy.data.hair_curves.new("Strands")))
    bpy.context.view_layer.update()
    second.objects.leave_out(scene, bpy.context.view_layer, [[character.GROUND, ""]])
    expected = "left out, because it has no surface to paint on: hair (Crate = [1], Strands)"
    assert sorted(second.told()) == [expected]
    assert not modifier.show_render
    assert crate.visible_camera
    assert not bpy.data.objects[character.GROUND].visible_camera


def test_collections_speak_for_their_objects_and_instances(extension, scene):
    inner = bpy.data.collections.new("Inner")
    prop = bpy.data.objects.new("Prop", bpy.data.meshes.new("Prop"))
    inner.objects.link(prop)
    empty = bpy.data.objects.new("Instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", inner
    outer = bpy.data.collections.new("Outer")
    outer.objects.link(empty)
    scene.collection.children.link(outer)
    said = lambda: {thing.name: rest for thing, *rest in extension.ask.things(scene)}  # noqa: E731
    assert said()["Prop"] == [True, ""]
    outer.genrender.prompt = "a house"
    assert said()["Prop"] == [True, "a house"]
    prop.genrender.prompt = "a door"
    assert said()["Prop"] == [True, "a door"]
    outer.genrender.takes_part = False
    assert said()["Prop"] == [False, "a door"]
    assert said()[character.CRATE] == [True, "a blue cube"]


def test_markers_change_the_camera(scene, second):
    other = scene.camera.copy()
    scene.collection.objects.link(other)
    marker = scene.timeline_markers.new("cut", frame=7)
    marker.camera = other
    cameras = [second.exr.camera_at(scene, frame) for frame in (5, 6, 7, 8)]
    assert cameras == [scene.camera, scene.camera, other, other]


def test_simulations_are_stepped_from_where_they_begin(extension, scene, second):
    """A cloth that began before the frames that are shown; baked ones are found beside the copy."""
    assert second.simulation.moments(scene, bpy.context.view_layer, [6, 8]) == [6, 8]
    cloth = bpy.data.objects[character.CRATE].modifiers.new("Cloth", "CLOTH")
    cloth.point_cache.frame_start = 3
    assert second.simulation.moments(scene, bpy.context.view_layer, [6, 8]) == [3, 4, 5, 6, 7, 8]
    file = Path(bpy.data.filepath)
    caches = file.with_name(f"blendcache_{file.stem}")
    caches.mkdir()
    (caches / "baked.bphys").touch()
    folder = extension.ask.make_job(scene, bpy.context.view_layer, "video")
    assert (folder / "blendcache_scene" / "baked.bphys").is_file()

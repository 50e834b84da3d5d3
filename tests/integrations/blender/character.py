"""A scene made for the tests: a rigged character of half a mesh, with modifiers, a crate and a ground."""

import math
from pathlib import Path

import bmesh
import bpy

CHARACTER, CRATE, GROUND = "Läufer", "Crate = [1]", "Ground"
FRAMES = (5, 8)
# The half that is there: name of its bone, middle and half size of a block. The mirror makes the other half.
BLOCKS = {
    "Spine": ((0.2, 0, 1.3), (0.2, 0.15, 0.4)),
    "Head": ((0.12, 0, 1.95), (0.12, 0.14, 0.18)),
    "Leg.L": ((0.2, 0, 0.45), (0.12, 0.12, 0.44)),
    "Arm.L": ((0.55, 0, 1.45), (0.1, 0.09, 0.32)),
}
BONES = {
    "Spine": ((0, 0, 0.9), (0, 0, 1.7)),
    "Head": ((0, 0, 1.75), (0, 0, 2.1)),
    "Leg.L": ((0.2, 0, 0.9), (0.2, 0, 0)),
    "Leg.R": ((-0.2, 0, 0.9), (-0.2, 0, 0)),
    "Arm.L": ((0.55, 0, 1.75), (0.55, 0, 1.1)),
    "Arm.R": ((-0.55, 0, 1.75), (-0.55, 0, 1.1)),
}


def make_scene() -> bpy.types.Scene:
    """A new file with the scene in it, not saved yet."""
    bpy.ops.wm.read_homefile(use_empty=True)  # add-ons stay enabled
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = FRAMES
    scene.render.resolution_x, scene.render.resolution_y = 1920, 1080
    character = _character()
    crate = _box(CRATE, (1.2, 0.6, 0.4), 0.4)
    ground = _box(GROUND, (0, 0, -0.5), 0.5)
    ground.scale = (8, 8, 1)
    for frame in FRAMES:
        swing = 0.6 if frame == FRAMES[0] else -0.6
        for name, sign in (("Leg.L", 1), ("Leg.R", -1), ("Arm.L", -1), ("Arm.R", 1)):
            bone = character.parent.pose.bones[name]
            bone.rotation_mode = "XYZ"
            bone.rotation_euler = (sign * swing, 0, 0)
            bone.keyframe_insert("rotation_euler", frame=frame)
        crate.rotation_euler = (0, 0, swing)
        crate.keyframe_insert("rotation_euler", frame=frame)
    camera = bpy.data.objects.new("Shot Cam", bpy.data.cameras.new("Shot Cam"))
    camera.location, camera.rotation_euler = (0.6, -6.5, 1.6), (math.radians(84), 0, math.radians(4))
    scene.collection.objects.link(camera)
    scene.camera = camera
    return scene


def _character() -> bpy.types.Object:
    """Without texture coordinates: they have to be made, on a copy."""
    mesh = bpy.data.meshes.new(CHARACTER)
    thing = bpy.data.objects.new(CHARACTER, mesh)
    bpy.context.scene.collection.objects.link(thing)
    shape, vertices = bmesh.new(), {}
    for name, (middle, half) in BLOCKS.items():
        made = bmesh.ops.create_cube(shape, size=2)["verts"]
        for vertex in made:
            vertex.co = [m + h * c for m, h, c in zip(middle, half, vertex.co, strict=True)]
        vertices[name] = made
    shape.verts.index_update()
    numbers = {name: [vertex.index for vertex in made] for name, made in vertices.items()}
    shape.to_mesh(mesh)
    shape.free()
    for name, indices in numbers.items():
        thing.vertex_groups.new(name=name).add(indices, 1.0, "REPLACE")
        if name.endswith(".L"):
            thing.vertex_groups.new(name=name.replace(".L", ".R"))
    rig = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(rig)
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    for name, (head, tail) in BONES.items():
        bone = rig.data.edit_bones.new(name)
        bone.head, bone.tail = head, tail
    bpy.ops.object.mode_set(mode="OBJECT")
    thing.parent = rig
    mirror = thing.modifiers.new("Mirror", "MIRROR")
    mirror.use_mirror_vertex_groups = True
    thing.modifiers.new("Armature", "ARMATURE").object = rig
    subdivision = thing.modifiers.new("Subdivision", "SUBSURF")
    subdivision.levels, subdivision.render_levels = 1, 2
    return thing


def _box(name: str, place: tuple[float, float, float], half: float) -> bpy.types.Object:
    """A cube with Blender's own texture coordinates."""
    bpy.ops.mesh.primitive_cube_add(size=2 * half, location=place)
    thing = bpy.context.object
    thing.name = name
    return thing


def save(folder: Path, name: str = "Szene ä.blend") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / name))
    return folder / name


def set_up(scene: bpy.types.Scene) -> None:
    """What all videos of the tests are asked for: the same, so that they have the same frames."""
    settings = scene.genrender
    settings.prompt, settings.size, settings.preset = "a red robot on a green background", 64, "preview"
    settings.options = "--steps 2"
    bpy.data.objects[GROUND].genrender.takes_part = False
    bpy.data.objects[CRATE].genrender.prompt = "a blue cube"


def strips(scene: bpy.types.Scene) -> list:
    """What lies in the sequencer; before Blender 4.4 strips were called sequences."""
    editor = scene.sequence_editor
    return list(editor.strips if hasattr(editor, "strips") else editor.sequences)

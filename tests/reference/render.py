"""Renders the example scenes with Blender's Cycles, as pictures that our own ray casts are held against.

    pip install bpy==4.5.15                      (needs Python 3.11; nothing of genrender is used here)
    python tests/reference/render.py [FOLDER]

Writes NAME.exr into FOLDER (default: this one) for every entry of views.json: the scene, its animation, the
time in seconds, width and height, and a camera: one of the file, by its name, or one that looks from `eye`
to `target` in glTF's coordinates (+Y up), with the vertical field of view `yfov_deg` or, orthographic, half
the view's height `ymag`.

The files are Blender's own multi-layer EXR, float32: ViewLayer.Depth.Z (planar depth, 1e10 is background),
ViewLayer.UV.U and .V (V grows upwards, 1 - V of glTF) and ViewLayer.IndexOB.X (objects count from 1 in the
file's order, 0 is background). One sample goes through the middle of each pixel. The `Note` in a header
tells the versions, here Blender 4.5.15 LTS. Run again with it, the script gives the same pixels to the bit.
"""

import json
import math
import struct
import sys
from pathlib import Path

import bpy
from mathutils import Vector

HERE = Path(__file__).resolve().parent
SCENES = HERE.parents[1] / "examples" / "scenes"
FPS = 24


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else HERE).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for view in json.loads((HERE / "views.json").read_text()):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        scene = bpy.context.scene
        scene.render.fps = FPS  # the importer puts what happens at t seconds on frame t * fps
        path = SCENES / view["scene"]
        bpy.ops.import_scene.gltf(filepath=str(path), disable_bone_shape=True)
        number_objects(path)
        play_only(view["animation"])
        scene.camera = make_camera(view["camera"])
        frame = view["time_s"] * FPS
        scene.frame_set(int(frame), subframe=frame % 1)
        set_passes(scene, *view["size"])
        scene.render.filepath = str(out / view["name"])
        bpy.ops.render.render(write_still=True)


def number_objects(path: Path) -> None:
    """Gives every object the place of its node among the file's nodes with meshes, from 1."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    gltf = json.loads(content[20 : 20 + length])
    names = [gltf["meshes"][node["mesh"]]["name"] for node in gltf["nodes"] if "mesh" in node]
    # Objects may be renamed on import, because an armature has the name already; meshes are not.
    objects = {thing.data.name: thing for thing in bpy.data.objects if thing.type == "MESH"}
    if sorted(objects) != sorted(names):
        raise SystemExit(f"{path.name}: Blender made the meshes {sorted(objects)} of {sorted(names)}")
    for index, name in enumerate(names, start=1):
        objects[name].pass_index = index


def play_only(animation: str) -> None:
    """Of each thing's animations, NLA tracks after import, the one of this name becomes its action.

    The tracks' strips begin on frame 1, whatever the first key's time; actions keep the file's own times.
    """
    n_playing = 0
    for data in (thing.animation_data for thing in bpy.data.objects if thing.animation_data):
        data.action = None
        for track in data.nla_tracks:
            track.mute = True
            if track.name == animation:
                data.action, data.action_slot = track.strips[0].action, track.strips[0].action_slot
                n_playing += 1
    if not n_playing:
        raise SystemExit(f"nothing is animated by {animation}")


def make_camera(wanted: str | dict) -> bpy.types.Object:
    if isinstance(wanted, str):
        return bpy.data.objects[wanted]
    lens = bpy.data.cameras.new("view")
    lens.sensor_fit = "VERTICAL"
    lens.clip_start, lens.clip_end = 0.01, 1000
    camera = bpy.data.objects.new("view", lens)
    bpy.context.scene.collection.objects.link(camera)
    eye, target = (Vector((x, -z, y)) for x, y, z in (wanted["eye"], wanted["target"]))
    camera.location = eye
    camera.rotation_mode = "QUATERNION"
    camera.rotation_quaternion = (target - eye).to_track_quat("-Z", "Y")
    if "ymag" in wanted:
        lens.type, lens.ortho_scale = "ORTHO", 2 * wanted["ymag"]
    else:
        lens.angle_y = math.radians(wanted["yfov_deg"])
    return camera


def set_passes(scene: bpy.types.Scene, width: int, height: int) -> None:
    render, settings = scene.render, scene.render.image_settings
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    scene.cycles.samples = 1
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = False
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.filter_width = 0.01  # pixels: the sample lies in the middle
    (layer,) = scene.view_layers
    layer.use_pass_combined = False
    layer.use_pass_z = layer.use_pass_uv = layer.use_pass_object_index = True
    settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "ZIP"
    # The header: versions, and nothing that changes from one run to the next.
    for name in ("date", "time", "render_time", "frame", "scene", "camera", "filename"):
        setattr(render, f"use_stamp_{name}", False)
    render.use_stamp_note = True
    render.stamp_note_text = f"Blender {bpy.app.version_string} ({bpy.app.build_hash.decode()}), Cycles"


if __name__ == "__main__":
    main()

"""Exports a Blender file by every road that genrender reads; docs/blender.md says why these boxes are ticked.

    blender --background scene.blend --python examples/export_from_blender.py -- OUT_FOLDER [glb usd abc exr]
    python examples/export_from_blender.py scene.blend OUT_FOLDER [glb usd abc exr]     with `pip install bpy`

Writes scene.glb, scene.usdc, scene.abc and the folder passes/ into OUT_FOLDER, all over the scene's own frame
range; without names after the folder, all four. The Blender file stays as it is. Tried with Blender 4.5.
"""

import sys
from pathlib import Path

import bpy  # pyright: ignore[reportMissingImports]


def main() -> None:
    if "--" in sys.argv:
        words = sys.argv[sys.argv.index("--") + 1 :]
    else:
        bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
        words = sys.argv[2:]
    out = Path(words[0]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    for road in words[1:] or EXPORTERS:
        EXPORTERS[road](out)


def export_glb(out: Path) -> None:
    bpy.ops.export_scene.gltf(
        filepath=str(out / "scene.glb"),
        export_format="GLB",
        export_cameras=True,  # off by default
        export_apply=True,  # modifiers as they are seen; shape keys of objects with others are lost
        # One animation that plays what the timeline plays, instead of one for every action.
        export_animation_mode="SCENE",
        export_anim_scene_split_object=False,
        export_force_sampling=True,  # constraints and drivers as well
        export_frame_range=True,
        export_optimize_animation_size=False,  # a key on every frame, which also tells the frame rate
    )


def export_usd(out: Path) -> None:
    bpy.ops.wm.usd_export(
        filepath=str(out / "scene.usdc"),
        export_animation=True,  # off by default
        # Off: points of every frame, with all modifiers. On: a skeleton, without the modifiers behind it.
        export_armatures=False,
        export_shapekeys=False,
        export_subdivision="TESSELLATE",  # else the cage alone, where subdivision is the last modifier
        evaluation_mode="RENDER",
        export_textures_mode="KEEP",
    )


def export_abc(out: Path) -> None:
    scene = bpy.context.scene
    bpy.ops.wm.alembic_export(
        filepath=str(out / "scene.abc"),
        start=scene.frame_start,
        end=scene.frame_end,
        uvs=True,
        evaluation_mode="RENDER",
        as_background_job=False,
    )


def export_exr(out: Path) -> None:
    """Depth, texture coordinates and cryptomatte: one sample in the middle of every pixel."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = False
    scene.cycles.pixel_filter_type = "BOX"
    scene.cycles.filter_width = 0.01  # no smoothing between objects
    scene.render.use_motion_blur = False
    for camera in bpy.data.cameras:
        camera.dof.use_dof = False
    for layer in scene.view_layers:
        layer.use_pass_z = True
        layer.use_pass_uv = True
        layer.use_pass_cryptomatte_object = True  # names of objects; an object index has none
        layer.use_pass_object_index = False
    scene.render.use_compositing = False
    scene.render.use_sequencer = False
    settings = scene.render.image_settings
    settings.file_format = "OPEN_EXR_MULTILAYER"
    settings.color_depth = "32"  # half floats would round
    settings.exr_codec = "ZIP"  # DWA and B44 would change numbers
    scene.render.filepath = str(out / "passes" / "frame_####")
    bpy.ops.render.render(animation=True)


EXPORTERS = {"glb": export_glb, "usd": export_usd, "abc": export_abc, "exr": export_exr}

if __name__ == "__main__":
    main()

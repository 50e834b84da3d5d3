"""Depth, texture coordinates and cryptomatte by Cycles: one sample in the middle of every pixel."""

import os
from collections.abc import Sequence
from pathlib import Path

import addon_utils
import bpy
from genrender_passes.simulation import moments
from genrender_passes.told import PassError, tell


def camera_at(scene, frame: int):
    """The camera of a frame, which markers may change."""
    bound = [marker for marker in scene.timeline_markers if marker.camera and marker.frame <= frame]
    return max(bound, key=lambda marker: marker.frame).camera if bound else scene.camera


def check_camera(scene, frames: Sequence[int]) -> None:
    """Raises PassError for a frame without a camera, or with one whose depth is not along an axis."""
    for frame in frames:
        camera = camera_at(scene, frame)
        if camera is None or camera.type != "CAMERA":
            raise PassError(
                f"scene {scene.name} has no camera at frame {frame}; add one and make it the scene's"
            )
        if camera.data.type == "PANO":
            raise PassError(f"camera {camera.name} is panoramic; expected a perspective or orthographic one")


def set_up(scene, layer, size: Sequence[int], pixel_aspect: Sequence[float]) -> None:
    """Sets all that the passes depend on."""
    addon_utils.enable("cycles")
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = *size, 100
    render.pixel_aspect_x, render.pixel_aspect_y = pixel_aspect
    for switch in ("use_border", "use_multiview", "use_motion_blur", "use_stamp", "use_freestyle"):
        setattr(render, switch, False)
    render.use_compositing = render.use_sequencer = False
    cycles.device = "CPU"  # one sample takes less time than a graphics card's kernels take to load
    cycles.samples = 1
    cycles.use_adaptive_sampling = cycles.use_denoising = False
    cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01  # pixels: the sample lies in the middle
    cycles.max_bounces = 0
    for camera in bpy.data.cameras:
        camera.dof.use_dof = False
    for one in scene.view_layers:
        one.use = one == layer
    for name in layer.bl_rna.properties.keys():  # noqa: SIM118 (a collection)
        if name.startswith("use_pass_"):
            setattr(layer, name, name in ("use_pass_z", "use_pass_uv", "use_pass_cryptomatte_object"))
    layer.material_override = None
    settings = render.image_settings
    if hasattr(settings, "media_type"):  # Blender 5
        settings.media_type = "MULTI_LAYER_IMAGE"
    if hasattr(settings, "use_exr_interleave"):
        # In parts of their own, Blender 5.0 cannot write pixels that are no squares.
        settings.use_exr_interleave = True
    settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "ZIP"


def render(scene, layer, frames: Sequence[int], folder: Path) -> None:
    """Renders the frames whose files are not there, each whole or not at all."""
    (folder / "passes").mkdir(exist_ok=True)
    beside = folder / f"unfinished-{os.getpid()}.exr"  # another Blender may not have ended yet
    files = {frame: folder / "passes" / f"frame_{frame:04d}.exr" for frame in frames}
    missing = [frame for frame in frames if not files[frame].is_file()]
    done = len(frames) - len(missing)
    tell("progress", work="passes", done=done, total=len(frames))
    for frame in moments(scene, layer, missing):
        scene.frame_set(frame)
        if frame in missing:
            scene.camera = camera_at(scene, frame)
            scene.render.filepath = str(beside)
            bpy.ops.render.render(write_still=True, scene=scene.name)
            os.replace(beside, files[frame])
            done += 1
        tell("progress", work="passes", done=done, total=len(frames))

"""Where a clip comes from: a scene, or passes that other software has rendered."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from genrender.errors import SceneError
from genrender.gbuffer.exr.files import exr_files
from genrender.gbuffer.exr.survey import open_sequence
from genrender.scene.cameras.path import CameraPath
from genrender.scene.load import load_scene, scene_files
from genrender.scene.objects import ObjectRule
from genrender.scene.uv.unwrap import unwrap
from genrender.shots.clip import ShotConfig, plan_shot
from genrender.shots.exr_shot import ExrShot

from .camera import camera_of
from .types import CATEGORY, SHOT, scratch_folder

FILES_3D = [io.File3DAny, io.File3DGLB, io.File3DGLTF, io.File3DOBJ, io.File3DPLY, io.File3DUSDZ]
MAX_SIDE = 4096


class LoadSceneNode(io.ComfyNode):
    """A scene file, the moments that are shown and the camera."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GenRenderLoadScene",
            display_name="Load Scene",
            category=CATEGORY,
            description="An animated 3D scene: which moments of it are shown, from where, at what size.",
            search_aliases=["glb", "gltf", "usd", "alembic", "animation"],
            inputs=[
                io.MultiType.Input(
                    io.String.Input("scene", default="", multiline=False),
                    types=FILES_3D,
                    tooltip="A file in the input folder, a whole path, a numbered sequence such as "
                    "walk_####.obj, or a 3D file of another node",
                ),
                io.Int.Input("width", default=512, min=64, max=MAX_SIDE, step=8),
                io.Int.Input("height", default=512, min=64, max=MAX_SIDE, step=8),
                io.String.Input("animation", default="", tooltip="Name or number; empty: all that there are"),
                io.Int.Input("frames", default=0, min=0, max=10000, tooltip="0: the animation once"),
                io.String.Input(
                    "start",
                    default="",
                    tooltip="What the first frame shows: its number or seconds (0.5s); empty: the first key",
                ),
                io.Float.Input("fps", default=0.0, min=0.0, max=240.0, tooltip="0: what the file tells"),
                io.String.Input(
                    "camera",
                    default="static",
                    tooltip="static, orbit, turntable, dolly, handheld:7, scene:NAME, with a lens if wanted: "
                    "orbit,35mm. A connected camera_info counts instead",
                ),
                io.String.Input("ignore", default="", tooltip="Objects to leave out: Ground, Helper*"),
                io.Boolean.Input("loop", default=False, tooltip="The animation begins again after its end"),
                io.Load3DCamera.Input("camera_info", optional=True, tooltip="Of a 3D viewer"),
                io.Load3DModelInfo.Input(
                    "model_3d_info",
                    optional=True,
                    tooltip="Of the same viewer, which moves and scales models",
                ),
            ],
            outputs=[
                SHOT.Output(display_name="shot"),
                io.Int.Output(display_name="frames"),
                io.Float.Output(display_name="fps"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, scene: Any = None, **others: Any) -> Any:
        """A file that has changed is read anew."""
        if not isinstance(scene, str):
            return repr(others)
        files = scene_files(scene_path(scene))
        return repr((others, [(str(file), file.stat().st_mtime_ns) for file in files if file.exists()]))

    @classmethod
    def execute(
        cls,
        scene: Any,
        width: int,
        height: int,
        camera_info: Any = None,
        model_3d_info: Any = None,
        **shown: Any,
    ) -> io.NodeOutput:
        given = None
        if camera_info is not None:
            camera = camera_of(camera_info, model_3d_info)
            given = CameraPath("camera_info", lambda _: camera)
        config = shot_config(shown, (width, height))
        if isinstance(scene, str):
            loaded = load_scene(scene_path(scene))
        else:
            with scratch_folder() as scratch:
                loaded = load_scene(_as_file(scene, Path(scratch)))
        shot = plan_shot(loaded, config, given)
        shot = replace(shot, scene=unwrap(shot.scene, shot.config.uv).scene)
        return io.NodeOutput(shot, shot.n_frames, shot.fps)


def shot_config(shown: dict[str, Any], size: tuple[int, int]) -> ShotConfig:
    """The settings of a shot from a node's inputs."""
    ignored = tuple(part.strip() for part in shown["ignore"].split(",") if part.strip())
    return ShotConfig(
        size=size,
        animation=shown["animation"].strip() or None,
        n_frames=shown["frames"] or None,
        fps=shown["fps"] or None,
        start=shown["start"].strip() or None,
        camera=shown["camera"].strip() or None,
        loop=shown["loop"],
        objects=ObjectRule(ignore=ignored),
    )


def scene_path(text: str) -> Path:
    """A file in the input folder by its name there, or any by its whole path."""
    if not text.strip():
        raise SceneError("no scene is given: expected a file in the input folder, or a whole path")
    # Quotes come with paths that are copied from a file manager.
    path = Path(text.strip().strip("'\"")).expanduser()
    return path if path.is_absolute() else Path(folder_paths.get_input_directory()) / path


def _as_file(model: Any, folder: Path) -> Path:
    """The file of a `FILE_3D`; one in memory is written for the moment."""
    if model.is_disk_backed:
        return Path(model.get_source())
    if not model.format:
        raise SceneError("the 3D file tells no format, expected glb, gltf, obj, ply or usdz")
    return Path(model.save_to(str(folder / f"scene.{model.format}")))


class LoadPassesNode(io.ComfyNode):
    """EXR passes: depth, texture coordinates and object indices."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GenRenderLoadPasses",
            display_name="Load Passes (EXR)",
            category=CATEGORY,
            description="Depth, texture coordinates and object indices that other software has rendered.",
            search_aliases=["exr", "cryptomatte", "blender", "houdini"],
            inputs=[
                io.String.Input(
                    "passes",
                    default="",
                    tooltip="A folder or a pattern (shot_####.exr), in the input folder or by its whole path",
                ),
                io.Int.Input("width", default=0, min=0, max=MAX_SIDE, step=8, tooltip="0: as in the files"),
                io.Int.Input("height", default=0, min=0, max=MAX_SIDE, step=8, tooltip="0: as in the files"),
                io.Int.Input("frames", default=0, min=0, max=10000, tooltip="0: all"),
                io.String.Input("start", default="", tooltip="Number of the first frame; empty: the first"),
            ],
            outputs=[
                SHOT.Output(display_name="shot"),
                io.Int.Output(display_name="frames"),
                io.Float.Output(display_name="fps"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, passes: str = "", **others: Any) -> Any:
        """Files that have changed are read anew."""
        files = exr_files(scene_path(passes))
        return repr((others, [(str(file), file.stat().st_mtime_ns) for file in files]))

    @classmethod
    def execute(cls, passes: str, width: int, height: int, frames: int, start: str) -> io.NodeOutput:
        sequence = open_sequence(scene_path(passes))
        size = (width or sequence.width, height or sequence.height)
        shot = ExrShot.of(sequence, frames or None, None, size, start.strip() or None)
        return io.NodeOutput(shot, shot.n_frames, shot.fps)

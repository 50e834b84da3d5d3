"""From a scene to the G-buffers of a clip: which moments, seen from where, at what size.

Example:
    >>> from genrender.shots.clip import ShotConfig, render_clip
    >>> from genrender.scene.load import load_scene
    >>> clip = render_clip(load_scene("walking_biped.glb"), ShotConfig(n_frames=16, camera="orbit"))
    >>> len(clip.gbuffers)
    16
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import render_gbuffer
from genrender.gbuffer.store import StoredGBuffers
from genrender.scene.backdrop import BackdropKind, add_backdrop
from genrender.scene.camera import Camera
from genrender.scene.cameras.path import CameraPath, camera_path
from genrender.scene.choices import UvMode
from genrender.scene.moments import DEFAULT_FPS, SAME_MOMENT, Moment, frames_between, seconds_of
from genrender.scene.objects import BY_NODE, ObjectRule, with_objects
from genrender.scene.scene import Scene
from genrender.scene.uv.unwrap import unwrap
from genrender.shots.exr_shot import ExrShot
from genrender.storage.lazy_frames import PerFrame
from genrender.storage.limits import (
    GBUFFER_BYTES,
    MAX_FPS,
    MAX_FRAMES,
    MIN_FPS,
    bytes_on_disk,
    check_disk,
    check_extent,
    check_memory,
    check_rate,
    check_times,
)
from genrender.surface.tracking import SurfaceTracker

# Frames of a clip in which nothing is animated, unless their number is given.
STILL_FRAMES = 24

# How long work reports about itself: what is being done, how much of it is done, how much there is.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ShotConfig:
    """Which moments of a scene a clip shows, from where and at what size.

    Attributes:
        size: width and height in pixels.
        animation: name or number in the file; None, like `all`, takes all that move different things, see
            `Scene.find_animation`.
        n_frames: None covers the animation once, from its first key to its last; without an animation it
            means 24.
        fps: frames per second; None is what the file tells, else 24. Frame i shows what is i / fps after the
            first.
        start: what the first frame shows, on the file's timeline: a frame number, or seconds as "0.5s".
            Frames are numbered at the file's own rate. None: the animation's first key.
        end: likewise, what the last frame shows; `n_frames` must then be None. None: the last key.
        times_s: the frames' times instead, on the scene's clock; the three before must then be None.
        camera: as in `camera_path`; None is a static view from which the whole clip fills the picture.
        loop: an animation begins again after its end, instead of holding its last pose.
        backdrop: geometry behind the scene, as in `add_backdrop`; it changes no camera.
        uv: whose texture coordinates are used, as in `unwrap`.
        objects: how the scene is divided into objects.
    """

    size: tuple[int, int] = (128, 128)
    animation: str | None = None
    n_frames: int | None = None
    fps: float | None = None
    start: Moment | None = None
    end: Moment | None = None
    times_s: tuple[float, ...] | None = None
    camera: str | None = None
    loop: bool = False
    backdrop: BackdropKind = "none"
    uv: UvMode = "auto"
    objects: ObjectRule = BY_NODE


@dataclass(frozen=True, eq=False)
class Shot:
    """A scene, the moments at which it is shown and the camera at each of them; nothing is rendered yet.

    Attributes:
        scene: divided into its objects, with its backdrop, if it has one.
        config: the settings, resolved: `animation`, `fps`, `times_s` and `camera` say what is shown, and what
            they were found from is None.
        animation: index into the scene's animations; None shows the rest pose.
        cameras: the camera of each frame.
    """

    scene: Scene
    config: ShotConfig
    animation: int | None
    cameras: tuple[Camera, ...]

    @property
    def times_s(self) -> tuple[float, ...]:
        """The frames' times in seconds, on the scene's clock."""
        assert self.config.times_s is not None
        return self.config.times_s

    @property
    def fps(self) -> float:
        assert self.config.fps is not None
        return self.config.fps

    @property
    def width(self) -> int:
        """Pixels per row."""
        return self.config.size[0]

    @property
    def height(self) -> int:
        """Rows."""
        return self.config.size[1]

    @property
    def n_frames(self) -> int:
        return len(self.times_s)

    def only(self, frames: Sequence[int]) -> "Shot":
        """The same with some of its frames, in the order given."""
        times_s = tuple(self.times_s[frame] for frame in frames)
        cameras = tuple(self.cameras[frame] for frame in frames)
        return replace(self, config=replace(self.config, times_s=times_s), cameras=cameras)

    def verts(self, frame: int) -> Float64[np.ndarray, "V 3"]:
        """World-space vertices of one frame."""
        return self.scene.evaluate(self.times_s[frame], self.animation)

    def gbuffer(self, frame: int) -> GBuffer:
        """What one frame shows, rendered at every call."""
        scene = self.scene
        gbuffer = render_gbuffer(
            self.verts(frame),
            scene.tris,
            scene.uvs,
            scene.object_id,
            self.cameras[frame],
            self.height,
            self.width,
            scene.atlas_id,
        )
        return replace(gbuffer, texture_keys=scene.texture_keys, object_names=scene.object_names)


@dataclass(frozen=True, eq=False)
class Clip:
    """A rendered shot: what the diffusion stage needs (`gbuffers`) and what metrics need beside that.

    A clip that was read from image files has no `geometry`, and what needs that raises ConfigError.
    """

    shot: Shot | ExrShot
    gbuffers: Sequence[GBuffer]

    @property
    def has_geometry(self) -> bool:
        """False for a clip that was read from image files."""
        return isinstance(self.shot, Shot)

    @property
    def geometry(self) -> Shot:
        """The scene, its moments and cameras.

        Raises:
            ConfigError: the clip was read from image files.
        """
        if not isinstance(self.shot, Shot):
            raise ConfigError(
                "this needs triangles and cameras, and the clip was read from image files, which hold none: "
                "render from the scene itself, or leave it out"
            )
        return self.shot

    @property
    def tracker(self) -> SurfaceTracker:
        """Where surface points lie in each frame, for the `reproject` engine and for metrics.

        Raises:
            ConfigError: the clip was read from image files.
        """
        shot = self.geometry
        return SurfaceTracker(
            self.gbuffers, shot.scene.tris, PerFrame(shot.verts, shot.n_frames), shot.cameras
        )

    def only(self, frames: Sequence[int]) -> "Clip":
        """A clip of some of the frames, in the order given."""
        return Clip(self.shot.only(frames), [self.gbuffers[frame] for frame in frames])

    @property
    def times_s(self) -> tuple[float, ...]:
        return self.shot.times_s

    @property
    def fps(self) -> float:
        return self.shot.fps


def plan_shot(scene: Scene, config: ShotConfig, given: CameraPath | None = None) -> Shot:
    """Resolves a configuration against a scene: times, animation and cameras, without rendering.

    Args:
        scene: what is shown.
        config: when, from where, at what size.
        given: a camera over time, by hosts that have one, instead of `config.camera`.

    Raises:
        ConfigError: a setting is out of range, two contradict each other, or the clip is too large.
        SceneError: the scene has no such animation, camera or objects, or the camera file cannot be used.
    """
    width, height = config.size
    scene = with_objects(scene, config.objects)
    animation = scene.find_animation(config.animation)
    fps = frame_rate(scene, animation, config.fps)
    start_s, n_frames = _span(scene, animation, config, fps)
    check_extent(width, height, n_frames)
    times_s = config.times_s or tuple(start_s + frame / fps for frame in range(n_frames))
    scene = scene.looped(animation) if config.loop else scene
    path = given or camera_path(config.camera, scene, animation, times_s, width / height)
    cameras = tuple(path.at(time_s) for time_s in times_s)
    scene = add_backdrop(scene, config.backdrop, animation, times_s, cameras, width / height)
    resolved = replace(
        config,
        animation=None if animation is None else str(animation),
        n_frames=None,
        fps=fps,
        start=None,
        end=None,
        times_s=times_s,
        camera=path.name,
    )
    return Shot(scene, resolved, animation, cameras)


def frame_rate(scene: Scene, animation: int | None, wanted: float | None = None) -> float:
    """Frames per second of a clip: what is wanted, else what the file tells, else 24.

    Raises:
        ConfigError: what is wanted is no rate.
    """
    if wanted is None:
        told = None if animation is None else scene.animations[animation].fps
        return told if told and MIN_FPS <= told <= MAX_FPS else DEFAULT_FPS
    check_rate(wanted)
    return float(wanted)


def _span(scene: Scene, animation: int | None, config: ShotConfig, fps: float) -> tuple[float, int]:
    """The first frame's time, and the number of frames."""
    bounds = (config.start, config.end)
    if config.times_s is not None:
        if config.n_frames is not None or bounds != (None, None):
            raise ConfigError(
                "times are given, and a number of frames, a start or an end as well; give one of them"
            )
        check_times(config.times_s)
        return config.times_s[0], len(config.times_s)
    if config.end is not None and config.n_frames is not None:
        raise ConfigError("both an end and a number of frames are given; give one of them")
    own = None if animation is None else scene.animations[animation]
    numbered_at = fps if own is None else own.fps or fps
    file_s = 0.0 if own is None else own.file_s
    first_s, last_s = (0.0, 0.0) if own is None else (own.start_s, own.end_s)
    start_s, end_s = (
        None if moment is None else seconds_of(moment, numbered_at, name) - file_s
        for moment, name in zip(bounds, ("start", "end"), strict=True)
    )
    first_s = first_s if start_s is None else start_s
    if config.n_frames is not None:
        return first_s, config.n_frames
    if start_s is not None or end_s is not None:
        last_s = last_s if end_s is None else end_s
        if own is None and end_s is None:
            return first_s, STILL_FRAMES
        if last_s < first_s - SAME_MOMENT / fps:
            raise ConfigError(
                f"the clip would end at frame {(last_s + file_s) * numbered_at:g} and begin at frame "
                f"{(first_s + file_s) * numbered_at:g}; give a start before the end"
            )
        return first_s, frames_between(first_s, last_s, fps)
    if config.loop and animation is not None:
        n_frames = round(min(scene.loop_s(animation) * fps, MAX_FRAMES + 1))
    else:
        n_frames = frames_between(first_s, last_s, fps)
    return first_s, n_frames if n_frames > 1 else STILL_FRAMES


def render_shot(shot: Shot | ExrShot, report: Report | None = None, file: Path | None = None) -> Clip:
    """Renders every frame of a shot, or reads it. Objects without texture coordinates must be unwrapped.

    Args:
        report: is told about the start and about every frame.
        file: where the G-buffers go, to be read when they are looked at; None: in memory.

    Raises:
        ConfigError: the G-buffers do not fit into the memory.
        MediaError: they do not fit on the disk, or the file cannot be written.
    """
    report = report or (lambda *_: None)
    n_bytes = GBUFFER_BYTES * shot.width * shot.height * shot.n_frames
    if file is None:
        check_memory(n_bytes, "G-buffers of all frames")
    else:
        check_disk(n_bytes - bytes_on_disk([file]), file.parent)
    stored = None
    if file is not None:
        stored = StoredGBuffers(file, shot.n_frames, shot.height, shot.width, shot.gbuffer)
    kept: list[GBuffer] = []
    report("G-buffers", 0, shot.n_frames)
    for frame in range(shot.n_frames):
        if stored is None:
            kept.append(shot.gbuffer(frame))
        else:
            stored.write(frame, shot.gbuffer(frame))
        report("G-buffers", frame + 1, shot.n_frames)
    return Clip(shot, kept if stored is None else stored)


def render_clip(
    scene: Scene,
    config: ShotConfig = ShotConfig(),
    report: Report | None = None,
    file: Path | None = None,
    frames: Sequence[int] | None = None,
) -> Clip:
    """The G-buffers of a clip. Objects without usable texture coordinates get some, as `config.uv` says.

    `report` and `file` are those of `render_shot`; `frames` are those that are rendered, None: all.

    Raises:
        ConfigError: a setting is out of range, or two contradict each other.
        SceneError: the scene has no such animation, camera or objects, or cannot be unwrapped.
    """
    shot = plan_shot(scene, config)
    shot = replace(shot, scene=unwrap(shot.scene, shot.config.uv).scene)
    return render_shot(shot if frames is None else shot.only(frames), report, file)

"""Whom passes are for: what each program or model takes, by name."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

from genrender.config import NoiseConfig
from genrender.gbuffer.control import inverse_depth_range, scale_inverse_depth
from genrender.gbuffer.control_lineart import lineart_control
from genrender.gbuffer.control_normal import normal_control, view_normals
from genrender.gbuffer.control_segmentation import segmentation_control
from genrender.gbuffer.exr.frame import gbuffer_channels, write_channels
from genrender.gbuffer.exr.mattes import object_mattes
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.preview import depth_picture, object_picture, shaded_picture, uv_picture
from genrender.media.deep_png import write_gray16
from genrender.media.images import write_png
from genrender.media.video import write_video
from genrender.noise.initial import surface_noise
from genrender.passes.motion import first_inverse_range, motion_vectors, tracking_picture
from genrender.passes.samples import N_SAMPLES, sampled_ids
from genrender.scene.backdrop_ids import BACKDROP_NAMES
from genrender.shots.clip import Clip, Report

# Pixels along a side of a latent pixel, and channels of the latents, of CogVideoX and Wan 2.1.
VIDEO_VAE_FACTOR, VIDEO_CHANNELS = 8, 16

# What a frame's G-buffer looks like in a video.
Picture = Callable[[GBuffer], UInt8[np.ndarray, "H W 3"]]


@dataclass(frozen=True)
class Target:
    """A program or model that takes passes.

    Attributes:
        about: what it is, and what is written for it.
        write: writes the files of a clip into a folder.
        size: width and height where none are asked for.
        n_frames: likewise; None: the clip's.
        fps: likewise.
        multiple: what sides have to be multiples of.
        frames_form: frames have to be 1 more than a multiple of this; 1: any number will do.
        needs_geometry: whether passes of other software, which hold no triangles, do not suffice.
    """

    about: str
    write: Callable[[Clip, Path, Report, int], None]
    size: tuple[int, int] = (512, 512)
    n_frames: int | None = None
    fps: float | None = None
    multiple: int = 1
    frames_form: int = 1
    needs_geometry: bool = False


def _comfyui(clip: Clip, folder: Path, report: Report, seed: int) -> None:  # noqa: ARG001 (all targets alike)
    inverse_range = inverse_depth_range(clip.gbuffers)
    (folder / "depth16").mkdir()
    for frame, gbuffer in enumerate(clip.gbuffers):
        gray = np.round(scale_inverse_depth(gbuffer, inverse_range) * 65535).astype(np.uint16)
        write_gray16(folder / "depth16" / f"{frame:05d}.png", gray)
    made: dict[str, Picture] = {"depth": partial(depth_picture, inverse_range=inverse_range)}
    if clip.gbuffers[0].lens is not None:
        made |= {"normal": normal_control, "lineart": lambda g: _three(lineart_control(g))}
    made |= {"segmentation": segmentation_control, "uv": uv_picture}
    for name, picture in made.items():
        _video(clip, folder / f"{name}.mp4", picture, report)
    (folder / "masks").mkdir()
    for object_id, name in object_names(clip).items():
        path = folder / "masks" / f"{object_id:03d}_{_file_word(name)}.mp4"
        _video(clip, path, partial(_mask, object_id=object_id), report)


def _wan_vace(clip: Clip, folder: Path, report: Report, seed: int) -> None:  # noqa: ARG001
    depth = partial(depth_picture, inverse_range=inverse_depth_range(clip.gbuffers))
    _video(clip, folder / "src_video.mp4", depth, report)
    _video(clip, folder / "src_mask.mp4", lambda g: np.full((g.height, g.width, 3), 255, np.uint8), report)


def _das(clip: Clip, folder: Path, report: Report, seed: int) -> None:  # noqa: ARG001
    inverse_range, path = first_inverse_range(clip), folder / "tracking_video.mp4"
    numbers = (frame for frame, _ in _counted(clip, path.name, report))
    write_video(path, (tracking_picture(clip, frame, inverse_range) for frame in numbers), clip.fps)
    first = depth_picture(clip.gbuffers[0], inverse_depth_range(clip.gbuffers))
    write_png(folder / "first_frame_depth.png", first)  # for the model that paints the first frame


def _go_with_the_flow(clip: Clip, folder: Path, report: Report, seed: int) -> None:
    noise = np.stack(list(_noises(clip, report, seed)))
    np.save(folder / "noises.npy", noise, allow_pickle=False)
    _video(clip, folder / "input.mp4", _opaque, report)


def _after_effects(clip: Clip, folder: Path, report: Report, seed: int) -> None:  # noqa: ARG001
    n_frames, names = len(clip.gbuffers), object_names(clip)
    for frame, gbuffer in _counted(clip, "passes", report):
        header, channels = object_mattes(sampled_ids(clip, frame), N_SAMPLES, names)
        plain = object_picture(gbuffer).astype(np.float32) / 255
        channels |= _named("", "RGBA", np.dstack([plain, gbuffer.visible.astype(np.float32)]))
        channels |= gbuffer_channels(gbuffer)
        if gbuffer.lens is not None:
            channels |= _named("Normal.", "XYZ", view_normals(gbuffer))
        if clip.has_geometry:
            later, earlier = min(frame + 1, n_frames - 1), max(frame - 1, 0)
            channels |= _named("MotionForward.", "XY", motion_vectors(clip, frame, later))
            channels |= _named("MotionBackward.", "XY", motion_vectors(clip, frame, earlier))
        write_channels(folder / f"passes_{frame:05d}.exr", channels, header)


TARGETS: Mapping[str, Target] = {
    "comfyui": Target(
        "pictures for any ControlNet as videos, depth in 16 bits, a mask for every object",
        _comfyui,
        multiple=8,
    ),
    "wan-vace": Target(
        "Wan 2.1 VACE: depth as src_video, all of it to be painted (src_mask)",
        _wan_vace,
        size=(832, 480),
        n_frames=81,
        fps=16,
        multiple=16,
        frames_form=4,
    ),
    "das": Target(
        "Diffusion as Shader: its tracking video, exact for every pixel",
        _das,
        size=(720, 480),
        n_frames=49,
        fps=8,
        multiple=16,
        frames_form=4,
        needs_geometry=True,
    ),
    "go-with-the-flow": Target(
        "models tuned on warped noise: noises.npy, frames x rows x columns x 16",
        _go_with_the_flow,
        size=(720, 480),
        n_frames=49,
        fps=8,
        multiple=8,
        frames_form=4,
    ),
    "after-effects": Target(
        "layered EXR for compositors: depth, normals, UV, motion both ways, cryptomatte", _after_effects
    ),
}


def object_names(clip: Clip) -> dict[int, str]:
    """Names of the objects that a clip shows, by their ids; backdrops are ground and dome."""
    shown = sorted({int(i) for gbuffer in clip.gbuffers for i in np.unique(gbuffer.object_id)} - {0})
    told = {**(clip.gbuffers[0].object_names or {}), **BACKDROP_NAMES}
    return {i: told.get(i, f"object {i}").removeprefix("\0") for i in shown}


def _video(clip: Clip, path: Path, picture: Picture, report: Report) -> None:
    write_video(path, (picture(gbuffer) for _, gbuffer in _counted(clip, path.name, report)), clip.fps)


def _counted(clip: Clip, what: str, report: Report) -> Iterator[tuple[int, GBuffer]]:
    report(what, 0, len(clip.gbuffers))
    for frame, gbuffer in enumerate(clip.gbuffers):
        yield frame, gbuffer
        report(what, frame + 1, len(clip.gbuffers))


def _noises(clip: Clip, report: Report, seed: int) -> Iterator[Shaped[np.ndarray, "h w C"]]:
    config = NoiseConfig(mode="bridge")
    for frame, gbuffer in _counted(clip, "noise", report):
        drawn = surface_noise([gbuffer], VIDEO_CHANNELS, VIDEO_VAE_FACTOR, seed, config, [frame])
        yield np.moveaxis(drawn[0].numpy(), 0, -1).astype(np.float16)


def _mask(gbuffer: GBuffer, object_id: int) -> UInt8[np.ndarray, "H W 3"]:
    return _three(np.where(gbuffer.object_id == object_id, np.uint8(255), np.uint8(0)))


def _three(gray: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    return np.repeat(gray[..., None], 3, axis=2)


def _opaque(gbuffer: GBuffer) -> UInt8[np.ndarray, "H W 3"]:
    shaded = shaded_picture(gbuffer)
    return np.where(shaded[..., 3:] > 0, shaded[..., :3], np.uint8(128))


def _named(layer: str, letters: str, values: Shaped[np.ndarray, "H W C"]) -> dict[str, np.ndarray]:
    return {f"{layer}{letter}": values[..., index] for index, letter in enumerate(letters)}


def _file_word(name: str) -> str:
    """A name as part of a file's name, on any system."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:40] or "object"

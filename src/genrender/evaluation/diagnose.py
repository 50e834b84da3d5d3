"""`genrender diagnose`: finds known faults of a video from measurements.

Every signature is a ratio of two measurements of the same run, or of the run and a per-frame rendering of the
same shot with the same model, so that it does not depend on how contrasty the pictures are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from genrender.metrics.sharpness import sharpness
from genrender.shots.clip import Clip
from genrender.storage.lazy_frames import PerFrame, Pictures
from genrender.surface.flow import EROSION_PX, SurfaceFlow, color_change, erode, follow

# Surface that moves less than this on the screen cannot tell whether its texture moves along.
MOVING_PX = 1.5


@dataclass(frozen=True)
class Measurements:
    """What symptoms are found from; NaN where a clip does not show enough to measure.

    Attributes:
        surface_error: mean RGB difference of equal surface points in neighbouring frames.
        contrast: mean RGB difference of two random surface points of one frame: what the error would be if
            every frame were painted anew in the same colours.
        screen_error: mean RGB difference of equal pixels in neighbouring frames, where the surface moves.
        moving_surface_error: surface error of the same pixels.
        sharpness: of the frames, as many as the reference has.
        reference_sharpness: of frames that were rendered one by one; NaN without a reference.
        color_drift: how far the mean colour of an object's surface that two distant frames both show wanders,
            largest over the objects.
    """

    surface_error: float
    contrast: float
    screen_error: float
    moving_surface_error: float
    sharpness: float
    reference_sharpness: float
    color_drift: float


@dataclass(frozen=True)
class Symptom:
    """One signature.

    Attributes:
        name: flicker, texture sticking, blur or colour drift.
        value: the ratio or distance that tells.
        limit: from here on it is a symptom.
        better: which way values are better than the limit.
        is_present: whether the run shows it; None where the clip cannot tell.
        meaning: what is seen of it.
        remedy: which options of the command line to change.
    """

    name: str
    value: float
    limit: float
    better: Literal["less", "more"]
    is_present: bool | None
    meaning: str
    remedy: str


def measure(
    frames: Pictures,
    clip: Clip,
    reference: Pictures | None = None,
) -> Measurements:
    """Measure a run. Without geometry only contrast and sharpness can be.

    Args:
        frames: RGB in [0, 1].
        clip: what they show.
        reference: the first frames of the same shot, each rendered on its own.
    """
    total = {"surface": 0.0, "screen": 0.0, "moving": 0.0}
    n_all = n_moving = 0
    for j, flow in _flows(clip, [(j, j - 1) for j in range(1, len(frames))]):
        before, after = frames[j - 1], frames[j]
        error = np.abs(color_change(before, after, flow)).mean(axis=1)
        rows, cols = np.nonzero(flow.visible)
        moved = np.linalg.norm(flow.xy[flow.visible] - np.stack([cols + 0.5, rows + 0.5], 1), axis=1)
        moving = moved > MOVING_PX
        screen = np.abs(after[flow.visible].astype(np.float64) - before[flow.visible]).mean(axis=1)
        total["surface"] += float(error.sum())
        total["moving"] += float(error[moving].sum())
        total["screen"] += float(screen[moving].sum())
        n_all += len(error)
        n_moving += int(moving.sum())
    # Of the very frames that the reference shows: a seam may come into view later.
    n_compared = len(frames if reference is None else reference)
    compared = PerFrame(lambda frame: frames[frame], n_compared)
    shown = PerFrame(lambda frame: clip.gbuffers[frame], n_compared)
    reference_sharpness = float("nan") if reference is None else sharpness(reference, shown)
    enough_moves = n_moving >= 0.05 * max(n_all, 1) and n_moving > 0
    return Measurements(
        surface_error=total["surface"] / n_all if n_all else float("nan"),
        contrast=_contrast(frames, clip),
        screen_error=total["screen"] / n_moving if enough_moves else float("nan"),
        moving_surface_error=total["moving"] / n_moving if enough_moves else float("nan"),
        sharpness=sharpness(compared, shown),
        reference_sharpness=reference_sharpness,
        color_drift=_color_drift(frames, clip),
    )


def symptoms(measured: Measurements) -> list[Symptom]:
    """All known signatures, present or not."""
    flicker = measured.surface_error / measured.contrast if measured.contrast > 0 else float("nan")
    moving = measured.moving_surface_error
    sticking = measured.screen_error / moving if moving > 0 else float("nan")
    theirs = measured.reference_sharpness
    blur = measured.sharpness / theirs if theirs > 0 else float("nan")
    return [
        _symptom(
            "flicker",
            flicker,
            0.5,
            "less",
            "surface points change their colour from frame to frame",
            "lock them (--lock 1), use --noise bridge, raise --alpha or --keyframes; `genrender verify` "
            "tells whether the correspondence holds",
        ),
        _symptom(
            "texture sticking",
            sticking,
            0.8,
            "more",
            "the picture stays put on the screen while the surface moves",
            "--noise fixed does that, and so does a very strong pre-attention; use --noise bridge, raise "
            "--alpha, or mix fresh noise in with --set noise.degradation=0.2",
        ),
        _symptom(
            "blur",
            blur,
            0.8,
            "more",
            "frames are less sharp than single pictures",
            "lock them (--lock 1), leave clean latents alone with --set latents.synchronise=0, blend less: "
            "--set injection.low_band=0.06 or a lower --alpha",
        ),
        _symptom(
            "colour drift",
            measured.color_drift,
            0.06,
            "less",
            "an object's mean colour wanders over the clip",
            "try --set latents.normalise=objects or more --keyframes",
        ),
    ]


def _symptom(
    name: str, value: float, limit: float, better: Literal["less", "more"], meaning: str, remedy: str
) -> Symptom:
    is_worse = value > limit if better == "less" else value < limit
    return Symptom(name, value, limit, better, None if np.isnan(value) else bool(is_worse), meaning, remedy)


def _contrast(frames: Pictures, clip: Clip) -> float:
    """Mean difference of random pairs of an object's pixels, over all frames."""
    rng = np.random.default_rng(0)
    differences = []
    for frame, gbuffer in zip(frames, clip.gbuffers, strict=True):
        pixels = frame[erode(gbuffer.visible, EROSION_PX)]
        if len(pixels) > 1:
            first, second = rng.integers(len(pixels), size=(2, 2000))
            differences.append(np.abs(pixels[first] - pixels[second]).mean())
    return float(np.mean(differences)) if differences else float("nan")


def _flows(clip: Clip, pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, SurfaceFlow]]:
    """The first frame of each pair, and where the second shows its points; nothing without geometry."""
    if clip.has_geometry and pairs:
        tracker = clip.tracker
        for frame, other in pairs:
            yield frame, follow(tracker, frame, other)


def _color_drift(frames: Pictures, clip: Clip) -> float:
    """Largest change of the mean colour of one object's shared surface between the first frame and another.

    Only surface that both frames show counts, so that an object that turns its other side does not drift.
    """
    largest, first = float("nan"), frames[0]
    for j, flow in _flows(clip, [(j, 0) for j in range(1, len(frames))]):
        object_id = clip.gbuffers[j].object_id[flow.visible]
        difference = color_change(first, frames[j], flow)
        for object_ in np.unique(object_id):
            inside = object_id == object_
            if inside.sum() >= 30:
                largest = float(np.fmax(largest, np.abs(difference[inside].mean(axis=0)).max()))
    return largest

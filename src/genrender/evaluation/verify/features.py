"""Do features survive the way over the surface, and does blending there make two frames agree?

The features are made up: smooth functions of the surface point, so that the right answer is known, and on top
of them, where frames are to disagree, independent noise per frame.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from genrender.config import UnifyRule
from genrender.correspondence.engines import SurfaceEngine
from genrender.correspondence.gather import FeatureMap
from genrender.errors import ConfigError
from genrender.evaluation.verify.matches import Matches, match_pixels
from genrender.injection.attention import blend_with_surface, map_to_tokens
from genrender.noise.hashing import hash_key, hashed_normal
from genrender.shots.clip import Clip
from genrender.surface.texels import pixel_centres
from genrender.surface.tracking import SurfaceTracker

# One wave over all that is visible, along each of the six axes of an icosahedron: whichever way a surface
# faces, most of them vary along it.
_GOLDEN = (1 + 5**0.5) / 2
_DIRECTIONS = np.array(
    [(0, 1, _GOLDEN), (0, 1, -_GOLDEN), (1, _GOLDEN, 0), (1, -_GOLDEN, 0), (_GOLDEN, 0, 1), (-_GOLDEN, 0, 1)]
) / np.hypot(1, _GOLDEN)
# Frames that disagree differ by as much as the surface's own features vary.
_DISAGREEMENT = 1.0


@dataclass(frozen=True)
class EngineFigures:
    """What one correspondence engine does to features; errors are mean absolute differences in units of the
    features' standard deviation, None where the engine carried nothing.

    Attributes:
        own_frame_error: agreeing features, put on the surface and seen by the very frame that they come from.
        other_frame_error: likewise, seen by another frame, against what is right there.
        carried: share of the pixels that both frames show whose features the engine found.
        blend_error: how much two frames that disagreed still differ at the same surface points once blended.
    """

    own_frame_error: float | None
    other_frame_error: float | None
    carried: float
    blend_error: float


class SurfaceFeatures:
    """Features that are known at every surface point, as the frames of a clip see them.

    Args:
        tracker: knows the clip.
        shape: rows and columns of the feature maps.
        frames: over their visible surface, features have mean 0 and standard deviation 1.
        seed: of what frames disagree about.
    """

    def __init__(self, tracker: SurfaceTracker, shape: tuple[int, int], frames: Sequence[int], seed: int):
        self._tracker, self._shape, self._seed = tracker, shape, seed
        points = np.concatenate([self._points(frame)[1] for frame in frames])
        self._origin, self._extent = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 1e-12)
        raw = self._raw(points)
        self._mean, self._std = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)

    def agreeing(self, frame: int) -> Float32[Tensor, "C h w"]:
        """Functions of the surface point alone; 0 on the background."""
        shown, points = self._points(frame)
        flat = np.zeros((len(_DIRECTIONS), self._shape[0] * self._shape[1]), np.float32)
        flat[:, shown] = ((self._raw(points) - self._mean) / self._std).T
        return torch.from_numpy(flat).unflatten(1, self._shape)

    def disagreeing(self, frame: int) -> Float32[Tensor, "C h w"]:
        """The same with noise of the frame's own."""
        agreeing = self.agreeing(frame)
        noise = hashed_normal(hash_key(self._seed, "disagreement", frame), np.arange(agreeing.numel()))
        return agreeing + _DISAGREEMENT * torch.from_numpy(noise).view_as(agreeing)

    def one_pixel_off(self, frame: int) -> float | None:
        """How much agreeing features differ between neighbouring pixels; None where none are neighbours."""
        shown = pixel_centres(self._tracker.gbuffers[frame], self._shape).object_id.reshape(self._shape) > 0
        values, is_shown = self.agreeing(frame), torch.from_numpy(shown)
        across = (values[..., 1:] - values[..., :-1])[:, is_shown[:, 1:] & is_shown[:, :-1]]
        down = (values[:, 1:] - values[:, :-1])[:, is_shown[1:] & is_shown[:-1]]
        return _mean(torch.cat([across, down], dim=1).abs().mean(0))

    def _points(self, frame: int) -> tuple[Int64[np.ndarray, "N"], Float64[np.ndarray, "N 3"]]:
        """The pixels that show a surface, and where their points lay in the clip's first frame."""
        centres = pixel_centres(self._tracker.gbuffers[frame], self._shape)
        shown = np.flatnonzero(centres.object_id)
        return shown, self._tracker.points(centres.tri_id[shown], centres.bary[shown], 0)

    def _raw(self, points: Float64[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N C"]:
        return np.sin(2 * np.pi * (points - self._origin) / self._extent @ _DIRECTIONS.T)


def choose_pair(
    tracker: SurfaceTracker, n_shown: Sequence[int], shape: tuple[int, int]
) -> tuple[tuple[int, int], Matches]:
    """Two keyframes for the checks, and the pixels of the second that show what the first shows.

    The first is the earliest frame that shows at least half as much surface as any; the second is as far
    from it as may be and still shares half as much with it as any frame does.

    Args:
        tracker: knows the clip.
        n_shown: how many feature pixels of each frame show a surface; at least two frames.
        shape: rows and columns of the feature map.

    Raises:
        ConfigError: no other frame shows anything of what the first one shows.
    """
    first = next(frame for frame, n in enumerate(n_shown) if 2 * n >= max(n_shown))
    others = [frame for frame in range(len(n_shown)) if frame != first]
    matches = {other: match_pixels(tracker, other, first, shape) for other in others}
    most = max(len(found.here) for found in matches.values())
    if most == 0:
        raise ConfigError(
            f"no other frame shows any of the surface that frame {first} shows, so there is nothing to "
            "compare; use more frames per second, another camera or larger pictures"
        )
    fitting = (other for other, found in matches.items() if 2 * len(found.here) >= most)
    second = max(fitting, key=lambda other: abs(other - first))
    return (first, second), matches[second]


def measure_engine(
    engine: SurfaceEngine,
    features: SurfaceFeatures,
    pair: tuple[int, int],
    matches: Matches,
    shape: tuple[int, int],
    rule: UnifyRule,
) -> EngineFigures:
    """What an engine does to features of two frames.

    Args:
        engine: carries features from keyframes to frames.
        features: what is to be carried.
        pair: the two keyframes.
        matches: pixels of the second that show what the first shows; not empty.
        shape: rows and columns of the feature maps.
        rule: how keyframes that show the same surface point are combined.
    """
    truth = torch.stack([features.agreeing(frame) for frame in pair])
    rendered, valid = engine.blend(pair[:1], pair, FeatureMap(*shape), rule)(truth[:1])
    error = (rendered - truth).abs().mean(1).flatten(1)
    found = valid.flatten(1)[1, matches.here]
    blended = blend_fully(engine, features, pair, pair, shape, rule)
    return EngineFigures(
        own_frame_error=_mean(error[0, valid[0].flatten()]),
        other_frame_error=_mean(error[1, matches.here[found.numpy()]]),
        carried=float(found.float().mean()),
        blend_error=disagreement(blended[1], blended[0], matches),
    )


def blend_fully(
    engine: SurfaceEngine,
    features: SurfaceFeatures,
    keyframes: Sequence[int],
    frames: Sequence[int],
    shape: tuple[int, int],
    rule: UnifyRule,
) -> Float32[Tensor, "F L C"]:
    """Features that disagree, after the post-attention injection with alpha = 1, as tokens."""
    sources = torch.stack([features.disagreeing(frame) for frame in keyframes])
    own = torch.stack([features.disagreeing(frame) for frame in frames])
    surface, valid = engine.blend(keyframes, frames, FeatureMap(*shape), rule)(sources)
    return blend_with_surface(map_to_tokens(own, 1), map_to_tokens(surface, 1), valid.flatten(1), 1.0)


def disagreement(here: Float32[Tensor, "L C"], there: Float32[Tensor, "L C"], matches: Matches) -> float:
    """How much the tokens of two frames differ where they show the same surface points."""
    return float(token_differences(here, there, matches).mean())


def token_differences(
    here: Float32[Tensor, "L C"], there: Float32[Tensor, "L C"], matches: Matches
) -> Float32[Tensor, "N"]:
    """Mean absolute difference over the channels, match by match."""
    return (here[matches.here] - there[matches.there]).abs().mean(1)


def measure_coverage(
    engine: SurfaceEngine,
    clip: Clip,
    keyframes: Sequence[int],
    shape: tuple[int, int],
    rule: UnifyRule,
    report: Callable[[int], None],
) -> Float64[np.ndarray, "F"]:
    """Share of each frame's surface that the keyframes show too; NaN where a frame shows no surface.

    Args:
        engine: says which feature pixels show what a keyframe shows.
        clip: the frames.
        keyframes: of one diffusion step.
        shape: rows and columns of the feature map.
        rule: as in `measure_engine`.
        report: is told how many frames are done.
    """
    shares = np.full(len(clip.gbuffers), np.nan)
    for frame in range(len(clip.gbuffers)):
        blend = engine.blend(keyframes, [frame], FeatureMap(*shape), rule)
        seen = blend.shows(torch.ones(len(keyframes), *shape, dtype=torch.bool))
        if blend.surface.any():
            shares[frame] = float(seen[blend.surface].double().mean())
        report(frame + 1)
    return shares


def _mean(errors: Float32[Tensor, "N"]) -> float | None:
    return float(errors.mean()) if errors.numel() else None

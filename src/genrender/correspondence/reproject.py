"""Mechanism 2 by reprojection: a frame's exact surface point is looked up where each keyframe shows it.

No texture and no texture side to choose, and no UVs. A pixel's triangle and barycentric weights say which
surface point it shows; at a keyframe's time that point lies somewhere else, its camera sees it somewhere, and
if nothing hides it there, the keyframe's features are sampled bilinearly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64

from genrender.config import CorrespondenceConfig, UnifyRule
from genrender.correspondence.gather import FeatureMap, Moment, References, SurfaceBlend, WeightedGather
from genrender.correspondence.unify import UNIFY_RULES, Samples, unify_weights
from genrender.storage.bounded_cache import Recent
from genrender.surface.texels import PixelCentres, pixel_centres
from genrender.surface.tracking import SurfaceTracker, bilinear_taps

# One pair of frames at 64x64 features takes some 250 KB; dropped pairs are found again in a few milliseconds.
_N_CACHED_PAIRS = 400
_N_CACHED_PIXELS = 400


@dataclass(frozen=True)
class Sighting:
    """Where one keyframe shows what the feature pixels of a frame show.

    Attributes:
        pixel: flat indices of the four keyframe pixels around each place.
        weight: of these; they sum to one where the point is seen, else they are 0.
        quality: how large the keyframe sees it, its triangle's pixels times 1,000; 0 where it does not.
    """

    pixel: Int64[np.ndarray, "4 P"]
    weight: Float32[np.ndarray, "4 P"]
    quality: Int64[np.ndarray, "P"]


class ReprojectCorrespondence:
    """Which keyframe pixels show the surface point under a frame's pixel, found by projection.

    Args:
        tracker: knows the clip's G-buffers, geometry and cameras.
        config: fill order and whether spread is restored.
        device: where features live.

    Source: ours; the paper goes through UV textures (`TextureCorrespondence`).
    """

    def __init__(
        self,
        tracker: SurfaceTracker,
        config: CorrespondenceConfig | None = None,
        device: str | torch.device = "cpu",
    ):
        self._tracker = tracker
        self._config = config or CorrespondenceConfig(engine="reproject")
        self._config.check()
        self._device = torch.device(device)
        self._pixels = Recent[PixelCentres](_N_CACHED_PIXELS)
        self._sightings = Recent[Sighting](_N_CACHED_PAIRS)
        self._references = References()

    def blend(
        self,
        keyframes: Sequence[int],
        frames: Sequence[int],
        features: FeatureMap,
        rule: UnifyRule,
        progress: float = 0.0,
    ) -> SurfaceBlend:
        """Prepare to carry features, see `SurfaceEngine`."""
        height, width = self.grid(features)
        moment = Moment(tuple(keyframes), progress if UNIFY_RULES[rule].rises else 0.0)
        gather, seen = self._gather(moment, frames, height, width, rule)
        reference = None
        # Bilinear samples are averages, too: spread is lost under every rule. One keyframe's is not restored.
        if self._config.restore_spread and len(keyframes) > 1:
            reference = self._references.look_up(self._find_reference, moment, height, width, rule)
        shown = [self._pixels.look_up(self._find_pixels, f, height, width).object_id > 0 for f in frames]
        surface = torch.from_numpy(np.concatenate(shown)).to(self._device).view(len(frames), height, width)
        return SurfaceBlend(gather, surface=surface, valid=seen.view_as(surface), reference=reference)

    def grid(self, features: FeatureMap) -> tuple[int, int]:
        """The size alone: this engine has no textures."""
        return features.height, features.width

    def _find_reference(self, moment: Moment, height: int, width: int, rule: UnifyRule) -> WeightedGather:
        """What the keyframes see of their own points, for the spread of what is rendered."""
        return self._gather(moment, moment.keyframes, height, width, rule, seen_only=True)[0]

    def _gather(
        self,
        moment: Moment,
        frames: Sequence[int],
        height: int,
        width: int,
        rule: UnifyRule,
        seen_only: bool = False,
    ) -> tuple[WeightedGather, Bool[torch.Tensor, "N"]]:
        """Weights for the pixels of `frames`, all or only those that any keyframe sees; and which it sees."""
        sightings = [
            [self._sightings.look_up(self._find_sighting, f, k, height, width) for f in frames]
            for k in moment.keyframes
        ]
        pixel, weight = (
            np.stack([np.concatenate([getattr(s, name) for s in row], axis=1) for row in sightings])
            for name in ("pixel", "weight")
        )
        quality = np.stack([np.concatenate([s.quality for s in row]) for row in sightings])
        seen = weight.sum(axis=1) > 0
        if seen_only:
            kept = seen.any(axis=0)
            pixel, weight = pixel[..., kept], weight[..., kept]
            quality, seen = quality[:, kept], seen[:, kept]
        by_quality = torch.from_numpy(quality) if self._config.fill_order == "quality" else None
        share = unify_weights(rule, Samples(torch.from_numpy(seen), by_quality, moment.progress))
        n_rows = seen.shape[1]
        source = pixel + (np.arange(len(moment.keyframes)) * height * width)[:, None, None]
        total = share[:, None] * torch.from_numpy(weight)
        gather = WeightedGather(
            torch.arange(n_rows, device=self._device).expand(source.shape).flatten(),
            torch.from_numpy(source).flatten().to(self._device),
            total.flatten().to(self._device),
            n_rows,
        )
        return gather, torch.from_numpy(seen.any(axis=0)).to(self._device)

    def _find_pixels(self, frame: int, height: int, width: int) -> PixelCentres:
        return pixel_centres(self._tracker.gbuffers[frame], (height, width))

    def _find_sighting(self, frame: int, keyframe: int, height: int, width: int) -> Sighting:
        """How `keyframe` sees the feature pixels of `frame`."""
        tracker = self._tracker
        here, there = (self._pixels.look_up(self._find_pixels, f, height, width) for f in (frame, keyframe))
        n_pixels = height * width
        shown = np.flatnonzero(here.object_id)
        if frame == keyframe:
            xy = here.xy[shown]
            is_seen = np.ones(len(shown), bool)
        else:
            xy, depth = tracker.locate(here.tri_id[shown], here.bary[shown], keyframe)
            is_seen = tracker.shows(xy, depth, here.object_id[shown], keyframe)
            is_seen |= self._same_triangle(xy, depth, here.tri_id[shown], keyframe)
        shown, xy = shown[is_seen], xy[is_seen]

        # By how much the point moved, so that a surface that does not move is exactly its own image.
        gbuffer = tracker.gbuffers[keyframe]
        scale = np.array([width / gbuffer.width, height / gbuffer.height])
        own = np.stack([shown % width, shown // width], axis=1) + 0.5
        taps = bilinear_taps(own + (xy - here.xy[shown]) * scale, height, width)
        pixel = np.zeros((4, n_pixels), np.int64)
        weight = np.zeros((4, n_pixels), np.float32)
        for tap, (row, col, share) in enumerate(taps):
            flat = row * width + col
            pixel[tap, shown] = flat
            # A neighbour that shows another object, or nothing, has features of something else.
            weight[tap, shown] = share * (there.object_id[flat] == here.object_id[shown])
        total = weight.sum(axis=0)
        weight /= np.where(total > 0, total, 1)
        quality = np.zeros(n_pixels, np.int64)
        quality[shown] = np.round(1e3 * tracker.pixel_area(here.tri_id[shown], keyframe)).astype(np.int64)
        return Sighting(pixel, weight, quality * (total > 0))

    def _same_triangle(
        self,
        xy: Float[np.ndarray, "N 2"],
        depth: Float[np.ndarray, "N"],
        tri_id: Int32[np.ndarray, "N"],
        keyframe: int,
    ) -> Bool[np.ndarray, "N"]:
        """Where the pixel at a point's place shows its very triangle, nothing can hide it."""
        shown = self._tracker.gbuffers[keyframe].tri_id
        col, row = np.floor(xy).astype(np.int64).T
        return (depth > 0) & (shown[row, col] == tri_id)

"""What is done to all frames' latents at a step, between the model and the scheduler.

Ours changes the predicted clean latents x0 and never x_t or epsilon: averages of those lose variance, and the
sampler takes what is lost for signal. Only the published normalisation touches x_t.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from genrender.config import LatentConfig
from genrender.correspondence.engines import SurfaceEngine
from genrender.correspondence.gather import FeatureMap
from genrender.errors import ConfigError
from genrender.injection.keyframes import choose_keyframes
from genrender.sampling.prediction import x0_rules
from genrender.sampling.surface import ClipSurface

# Statistics of fewer latent pixels say more about chance than about an object.
MIN_PIXELS = 8
# From how many frames another one takes its clean latents; work per step grows with it.
MAX_SOURCES = 24


def normalise_objects(
    x0: Float32[Tensor, "F C h w"],
    object_id: Int64[Tensor, "F h w"],
    keyframe_x0: Float32[Tensor, "K C h w"],
    keyframe_object_id: Int64[Tensor, "K h w"],
    strength: float,
) -> Float32[Tensor, "F C h w"]:
    """Give every object, and the background, the keyframes' mean and spread in each channel.

    x0' = s_ref (x0 - m) / s + m_ref, where m and s are those of the object in one frame, m_ref and s_ref
    those over all keyframes together; `strength` in [0, 1] mixes x0' into x0.

    Source: ours, after AdaIN (Huang and Belongie 2017). Differs from the paper's: see `normalise_background`.
    """
    if strength == 0:
        return x0
    pixels, of_keyframes = x0.movedim(1, -1).clone(), keyframe_x0.movedim(1, -1)
    for object_ in object_id.unique().tolist():
        inside = object_id == object_
        pooled = of_keyframes[keyframe_object_id == object_]
        if len(pooled) < MIN_PIXELS:
            continue
        m_ref, s_ref = pooled.mean(0), pooled.std(0)
        for frame in range(len(pixels)):
            own = pixels[frame][inside[frame]]
            if len(own) < MIN_PIXELS:
                continue
            gain = s_ref / own.std(0).clamp(min=1e-6)
            # A flat region has no spread to restore; beyond a factor of two it is not the same picture.
            gain = gain.clamp(0.5, 2.0)
            pixels[frame][inside[frame]] = own.lerp(gain * (own - own.mean(0)) + m_ref, strength)
    return pixels.movedim(-1, 1)


def normalise_background(
    latents: Float32[Tensor, "F C h w"],
    object_id: Int64[Tensor, "F h w"],
    reference: Float32[Tensor, "N C"],
) -> Float32[Tensor, "F C h w"]:
    """Give every frame's background the mean and spread of the first frame's, in each channel.

    Args:
        latents: noisy latents of some frames.
        object_id: what their pixels show.
        reference: noisy latents of the first frame's background, pixel by pixel.

    Source: our reading of the paper's latent normalisation; on the noisy latents, as published.
    """
    if len(reference) < MIN_PIXELS:
        return latents
    pixels = latents.movedim(1, -1).clone()
    outside = object_id == 0
    for frame in range(len(pixels)):
        own = pixels[frame][outside[frame]]
        if len(own) >= MIN_PIXELS:
            gain = reference.std(0) / own.std(0).clamp(min=1e-6)
            pixels[frame][outside[frame]] = gain * (own - own.mean(0)) + reference.mean(0)
    return pixels.movedim(-1, 1)


def nearest_two(frame: int, keyframes: Sequence[int]) -> tuple[int, ...]:
    """The two keyframes nearest in time (all, if there are fewer), in ascending order."""
    return tuple(sorted(sorted(keyframes, key=lambda k: (abs(k - frame), k))[:2]))


def synchronise(
    x0: Float32[Tensor, "F C h w"],
    frames: Sequence[int],
    source_x0: Float32[Tensor, "K C h w"],
    sources: Sequence[int],
    engine: SurfaceEngine,
    config: LatentConfig,
    done: float = 0.0,
) -> Float32[Tensor, "F C h w"]:
    """Unify the predicted clean latents along the surface.

    Every frame takes what all sources, or its two nearest keyframes, show of its surface points.

    Args:
        x0: of some frames.
        frames: which these are.
        source_x0: of the frames to take from.
        sources: which these are.
        engine: carries latents on the surface.
        config: which sources, how they are combined, and how much that counts.
        done: share of the steps that are done, in [0, 1].

    Source: ours; synchronised tweedies (Kim et al. 2024) average x0 over views in a like manner.
    """
    if config.synchronise == 0:
        return x0
    height, width = x0.shape[-2:]
    features = FeatureMap(height, width)
    synced = x0.clone()

    def taken_from(row: int) -> tuple[int, ...]:
        return tuple(sources) if config.synchronise_from == "frames" else nearest_two(frames[row], sources)

    for taken, group in groupby(range(len(frames)), key=taken_from):
        rows, shown = list(group), source_x0[[sources.index(frame) for frame in taken]]
        blend = engine.blend(taken, [frames[r] for r in rows], features, config.synchronise_unify, done)
        surface, valid = blend(shown)
        synced[rows] = torch.where(valid[:, None], x0[rows].lerp(surface, config.synchronise), x0[rows])
    return synced


class LatentRules:
    """The latent rules of one run, ready to be applied step by step, chunk by chunk in the frames' order.

    Args:
        config: which rules.
        scheduler: with its timesteps set. None: nothing but `sources`, `start_x0` and `change_x0` is asked
            for, by hosts whose samplers hand out clean latents.
        surface: of the clip; its engine is needed for synchronisation.
        is_part: only a part of the clip is made, and the keyframes alone are the same for all parts.

    Raises:
        ConfigError: a rule takes something from a frame that a part may lack.
    """

    def __init__(
        self, config: LatentConfig, scheduler: Any | None, surface: ClipSurface, is_part: bool = False
    ):
        if is_part and config.normalise == "background":
            raise ConfigError(
                "latents.normalise is 'background', which takes frame 0 as its model, and a part of a clip "
                "may lack it: set it to none or objects, or render the whole clip"
            )
        self._is_part = is_part
        self._config = config
        self._surface = surface
        self._reference: Tensor | None = None
        self._sources: list[int] = []
        self._source_x0: Tensor | None = None
        if config.changes_x0 and scheduler is not None:
            self._x0_rules = x0_rules(scheduler)

    def sources(self, keyframes: Sequence[int], seed: int, draw: int) -> list[int]:
        """Frames of which `start_step` must be told what the model says; none where nothing needs it.

        Args:
            keyframes: of this step.
            seed: of the run.
            draw: as for keyframes.
        """
        if not self._config.changes_x0:
            return []
        if self._config.synchronise_from == "keyframes" or self._is_part:
            return list(keyframes)
        n_frames = self._surface.n_frames
        return choose_keyframes(n_frames, min(n_frames, MAX_SOURCES), "stratified", seed, draw)

    def start_step(
        self,
        sources: Sequence[int],
        output: Float32[Tensor, "K C h w"],
        model_input: Float32[Tensor, "K C h w"],
        step: int,
    ) -> None:
        """Take in the guided output for the sources of a step, and what the model saw."""
        self.start_x0(sources, self._x0_rules[step].x0(output, model_input))

    def start_x0(self, sources: Sequence[int], x0: Float32[Tensor, "K C h w"]) -> None:
        """Take in the predicted clean latents of the sources of a step."""
        self._sources, self._source_x0 = list(sources), x0

    def change_output(
        self,
        output: Float32[Tensor, "F C h w"],
        model_input: Float32[Tensor, "F C h w"],
        frames: Sequence[int],
        step: int,
        done: float,
    ) -> Float32[Tensor, "F C h w"]:
        """The model output after everything that is done to predicted clean latents.

        Args:
            output: the guided model output for a chunk.
            model_input: what the model saw.
            frames: the chunk.
            step: which evaluation of the model.
            done: share of the steps that are done, in [0, 1].
        """
        if not self._config.changes_x0:
            return output
        rule = self._x0_rules[step]
        return rule.output(self.change_x0(rule.x0(output, model_input), frames, done), model_input)

    def change_x0(
        self, x0: Float32[Tensor, "F C h w"], frames: Sequence[int], done: float
    ) -> Float32[Tensor, "F C h w"]:
        """The predicted clean latents of some frames after everything that is done to them.

        Args:
            x0: of the frames.
            frames: which these are.
            done: share of the steps that are done, in [0, 1].
        """
        config = self._config
        if not config.changes_x0:
            return x0
        assert self._source_x0 is not None
        if config.normalise == "objects":
            ids, source_ids = self._object_ids(frames), self._object_ids(self._sources)
            x0 = normalise_objects(x0, ids, self._source_x0, source_ids, 1.0 - done)
        if config.synchronise > 0 and done <= config.synchronise_until:
            engine = self._surface.engine
            assert engine is not None
            x0 = synchronise(x0, frames, self._source_x0, self._sources, engine, config, done)
        return x0

    def change_latents(
        self, latents: Float32[Tensor, "F C h w"], frames: Sequence[int]
    ) -> Float32[Tensor, "F C h w"]:
        """The noisy latents of a chunk after what is done to them when the scheduler has made its step."""
        if self._config.normalise != "background":
            return latents
        object_id = self._object_ids(frames)
        if frames[0] == 0:
            self._reference = latents[0].movedim(0, -1)[object_id[0] == 0]
        assert self._reference is not None
        rest = slice(1, None) if frames[0] == 0 else slice(None)
        changed = latents.clone()
        changed[rest] = normalise_background(latents[rest], object_id[rest], self._reference)
        return changed

    def _object_ids(self, frames: Sequence[int]) -> Int64[Tensor, "F h w"]:
        return self._surface.objects(frames, self._surface.latent_size)

"""All checks of a clip, and what a sceptic should expect of each figure.

No diffusion model takes part: the noise is the one that a run would start from, and the features are made up.

Example:
    >>> from genrender.shots.clip import ShotConfig, render_clip
    >>> from genrender.scene.load import load_scene
    >>> from genrender.evaluation.verify.checks import verify_clip
    >>> clip = render_clip(load_scene("walking_biped.glb"), ShotConfig(size=(512, 512), n_frames=8))
    >>> verify_clip(clip).noise["nearest"].alignment
    1.0
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
import torch

from genrender.config import CorrespondenceConfig, Engine, InjectionConfig, NoiseMode
from genrender.correspondence.engines import make_engine
from genrender.errors import ConfigError
from genrender.evaluation.verify.features import (
    EngineFigures,
    SurfaceFeatures,
    choose_pair,
    disagreement,
    measure_coverage,
    measure_engine,
)
from genrender.evaluation.verify.matches import match_pixels
from genrender.evaluation.verify.noise import (
    N_CHANNELS,
    VAE_FACTOR,
    NoiseFigures,
    clip_noise,
    measure_noise,
)
from genrender.injection.keyframes import choose_keyframes, default_n_keyframes
from genrender.noise.initial import nearest_side
from genrender.shots.clip import Clip, Report, Shot
from genrender.surface.texels import pixel_centres, texels_under_pixels

# `independent` is the control: a measure that finds agreement there is worth nothing.
MODES: tuple[NoiseMode, ...] = ("nearest", "partition", "independent")


@dataclass(frozen=True)
class Check:
    """One figure and what is expected of it.

    Attributes:
        name: what is measured.
        value: None where there was nothing to measure.
        expected: in words.
        is_met: whether the figure is as expected.
    """

    name: str
    value: float | None
    expected: str
    is_met: bool


@dataclass(frozen=True)
class Verification:
    """Everything that was measured of a clip.

    Attributes:
        latent_shape: rows and columns of the latents; features are measured at the same size.
        n_pairs: how many pairs of pixels of consecutive frames show the same surface point.
        noise: by mode.
        pair: the keyframes whose features are blended.
        engines: by the name of the correspondence engine.
        unblended_error: how much the pair's features differ at the same surface points without blending.
        one_pixel_off: how much agreeing features differ between neighbouring pixels.
        keyframes: of one diffusion step, with the default number and strategy.
        coverage: by engine, the mean over frames of the share of their surface that the keyframes show.
        coverage_minimum: by engine, the least share among the frames.
    """

    latent_shape: tuple[int, int]
    n_pairs: int
    noise: dict[NoiseMode, NoiseFigures]
    pair: tuple[int, int]
    engines: dict[Engine, EngineFigures]
    unblended_error: float
    one_pixel_off: float | None
    keyframes: tuple[int, ...]
    coverage: dict[Engine, float]
    coverage_minimum: dict[Engine, float]

    @property
    def round_trip_error(self) -> float | None:
        """Of the worse engine, on the frame where it does worse."""
        return _worst(
            error for e in self.engines.values() for error in (e.own_frame_error, e.other_frame_error)
        )

    @property
    def blend_error(self) -> float:
        """Of the worse engine."""
        return max(engine.blend_error for engine in self.engines.values())

    def checks(self) -> list[Check]:
        """What is expected of every figure, in the order of the table."""
        nearest, partition, control = (self.noise[mode] for mode in MODES)
        n_values = N_CHANNELS * self.latent_shape[0] * self.latent_shape[1]
        # Four standard errors of one frame: the frames of a clip share their noise and do not average it.
        white = max(0.02, 4 / (2 * n_values) ** 0.5)
        unrelated = max(0.05, 4 / (N_CHANNELS * self.n_pairs) ** 0.5)
        sticks = max(0.25, unrelated)
        step = self.one_pixel_off
        blend_limit = self.unblended_error * 2 / 3
        return [
            _check("nearest: alignment", nearest.alignment, "exactly 1", 1, 1),
            _check("partition: std", partition.std, f"1 \u00b1 {white:.2g}", 1 - white, 1 + white),
            _check("partition: Moran's I", partition.morans_i, f"0 \u00b1 {white:.2g}", -white, white),
            # Rounding may put the correlation of two equal frames above 1.
            _check(
                "partition: correlation",
                partition.correlation,
                f"\u2265 {sticks:.2g}; 1 at rest",
                sticks,
                1.001,
            ),
            *(
                _check(name, value, f"0 \u00b1 {unrelated:.2g}", -unrelated, unrelated)
                for name, value in (
                    ("partition: elsewhere", partition.correlation_elsewhere),
                    ("independent: correlation", control.correlation),
                )
            ),
            _check(
                "features: round trip error",
                self.round_trip_error,
                "nothing to compare" if step is None else f"\u2264 {step:.3f}: one pixel off",
                0,
                step or 0,
            ),
            _check(
                "features: blend error",
                self.blend_error,
                f"\u2264 {blend_limit:.3f}; unblended {self.unblended_error:.3f}",
                0,
                blend_limit,
            ),
            _check("coverage: mean", min(self.coverage.values()), "\u2265 0.8", 0.8, 1),
            _check("coverage: minimum", min(self.coverage_minimum.values()), "\u2265 0.5", 0.5, 1),
        ]

    def as_json(self) -> dict[str, Any]:
        """The figures as plain data. Where there are two engines, the worse one speaks for both."""
        nearest, partition, control = (asdict(self.noise[mode]) for mode in MODES)
        whiteness = ("std", "morans_i", "correlation", "correlation_elsewhere")
        return {
            "latent_size": list(self.latent_shape[::-1]),
            "n_pairs": self.n_pairs,
            "noise": {
                "nearest": nearest,
                "partition": {name: partition[name] for name in whiteness},
                "independent": {name: control[name] for name in (*whiteness, "alignment")},
            },
            "features": {
                "round_trip_error": self.round_trip_error,
                "blend_error": self.blend_error,
                "unblended_error": self.unblended_error,
                "one_pixel_off": self.one_pixel_off,
                "keyframes": list(self.pair),
                "engines": {name: asdict(engine) for name, engine in self.engines.items()},
            },
            "coverage": min(self.coverage.values()),
            "coverage_minimum": min(self.coverage_minimum.values()),
            "coverage_engines": self.coverage,
            "keyframes": list(self.keyframes),
            "attention": [check.name for check in self.checks() if not check.is_met],
        }


def check_shot(shot: Shot) -> None:
    """Raises ConfigError for a shot that cannot be verified, as far as its plan tells."""
    if shot.n_frames < 2:
        raise ConfigError(
            "the clip has 1 frame, and what is verified is that frames agree; expected at least 2 "
            "frames, for instance --frames 8"
        )
    if shot.width % VAE_FACTOR or shot.height % VAE_FACTOR:
        near = "x".join(
            str(max(1, round(side / VAE_FACTOR)) * VAE_FACTOR) for side in (shot.width, shot.height)
        )
        raise ConfigError(
            f"size is {shot.width}x{shot.height}, expected multiples of {VAE_FACTOR}, for instance {near}"
        )


def verify_clip(clip: Clip, seed: int = 0, report: Report | None = None) -> Verification:
    """Measures how well noise and features stick to the surfaces of a clip.

    Args:
        clip: at least two frames, rendered from a scene.
        seed: of the noise, of what keyframes disagree about, and of the choice of keyframes.
        report: is told about every frame.

    Raises:
        ConfigError: fewer than two frames, a size that is not a multiple of 8, nothing to see, or no two
            frames that show the same surface.
    """
    report = report or (lambda *_: None)
    shot, n_frames = clip.geometry, len(clip.gbuffers)
    check_shot(shot)
    shape = shot.height // VAE_FACTOR, shot.width // VAE_FACTOR
    n_shown = [int(np.count_nonzero(pixel_centres(gbuffer, shape).object_id)) for gbuffer in clip.gbuffers]
    if not any(n_shown):
        raise ConfigError(
            f"the camera sees nothing of the scene at {shot.width}x{shot.height}, so there is nothing to "
            "verify; choose another camera or larger pictures"
        )

    # 1. Which pixels show the same surface points: everything else is measured there.
    tracker = clip.tracker
    matches, texels = [], []
    for frame, gbuffer in enumerate(clip.gbuffers):
        texels.append(texels_under_pixels(gbuffer, shape, nearest_side(shape)))
        if frame > 0:
            matches.append(match_pixels(tracker, frame, frame - 1, shape))
        report("matches", frame + 1, n_frames)
    n_pairs = sum(len(found.here) for found in matches)
    pair, pair_matches = choose_pair(tracker, n_shown, shape)
    if n_pairs == 0:
        raise ConfigError(
            "no two consecutive frames show the same surface, so there is nothing to compare; use more "
            "frames per second or larger pictures"
        )

    # 2. The noise.
    noise = {}
    for done, mode in enumerate(MODES, start=1):
        noise[mode] = measure_noise(clip_noise(clip, mode, seed), matches, texels)
        report("noise", done, len(MODES))

    # 3. Features on the surface, and how much of it the keyframes of a step know.
    injection = InjectionConfig()
    features = SurfaceFeatures(tracker, shape, pair, seed)
    keyframes = choose_keyframes(n_frames, default_n_keyframes(n_frames), injection.keyframes, seed, 0)
    engines: dict[Engine, EngineFigures] = {}
    coverage: dict[Engine, np.ndarray] = {}
    names: Sequence[Engine] = get_args(Engine)
    for i, name in enumerate(names):
        config = CorrespondenceConfig(engine=name)
        engine = make_engine(clip.gbuffers, config, torch.device("cpu"), tracker)
        engines[name] = measure_engine(engine, features, pair, pair_matches, shape, injection.unify)

        def tell(done: int, before: int = i * n_frames) -> None:
            report("features", before + done, len(names) * n_frames)

        coverage[name] = measure_coverage(engine, clip, keyframes, shape, injection.unify, tell)
    first, second = (features.disagreeing(frame).flatten(1).T for frame in pair)
    return Verification(
        latent_shape=shape,
        n_pairs=n_pairs,
        noise=noise,
        pair=pair,
        engines=engines,
        unblended_error=disagreement(second, first, pair_matches),
        one_pixel_off=features.one_pixel_off(pair[0]),
        keyframes=tuple(keyframes),
        coverage={name: float(np.nanmean(shares)) for name, shares in coverage.items()},
        coverage_minimum={name: float(np.nanmin(shares)) for name, shares in coverage.items()},
    )


def _check(name: str, value: float | None, expected: str, least: float, most: float) -> Check:
    return Check(name, value, expected, value is not None and least <= value <= most)


def _worst(errors: Iterable[float | None]) -> float | None:
    found = list(errors)
    known = [error for error in found if error is not None]
    return max(known) if len(known) == len(found) else None

"""Does the initial noise stick to the surface, and is every frame of it as white as a model expects?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from genrender.config import NoiseConfig, NoiseMode
from genrender.evaluation.verify.matches import Matches
from genrender.noise.hashing import hash_key, hashed_uniform
from genrender.noise.initial import surface_noise
from genrender.shots.clip import Clip
from genrender.storage.lazy_frames import PerFrame

VAE_FACTOR = 8
# Latents have 4 channels; all are drawn alike, and more of them make the figures less a matter of chance.
N_CHANNELS = 16
# Pairs closer than this in feature pixels share texels, so they do not count as lying elsewhere.
_FAR_PX = 3


@dataclass(frozen=True)
class NoiseFigures:
    """What is measured of the noise of one mode.

    Attributes:
        std: standard deviation over all pixels, channels and frames.
        morans_i: correlation of neighbouring pixels, the mean over frames; 0 for white noise.
        correlation: of the noise of consecutive frames where they show the same surface point.
        correlation_elsewhere: likewise, where they show different surface points; None where all are close.
        alignment: share of those pixels of consecutive frames that show the same point and, at their centres,
            the same texel whose noise is identical; None where there is no such pixel.
        n_same_texel: how many pixels that is.
    """

    std: float
    morans_i: float
    correlation: float | None
    correlation_elsewhere: float | None
    alignment: float | None
    n_same_texel: int


def clip_noise(clip: Clip, mode: NoiseMode, seed: int) -> PerFrame[Float32[np.ndarray, "C h w"]]:
    """The noise of a clip's frames, drawn frame by frame whenever one is looked at."""
    config = NoiseConfig(mode)

    def draw(frame: int) -> Float32[np.ndarray, "C h w"]:
        return surface_noise([clip.gbuffers[frame]], N_CHANNELS, VAE_FACTOR, seed, config, [frame])[0].numpy()

    return PerFrame(draw, len(clip.gbuffers))


def measure_noise(
    noise: Sequence[Float32[np.ndarray, "C h w"]],
    matches: Sequence[Matches],
    texels: Sequence[Int64[np.ndarray, "P"]],
) -> NoiseFigures:
    """Measures the noise of a clip, whatever it was made by.

    Args:
        noise: one array per frame; each is looked at once.
        matches: entry i holds the pixels of frame i + 1 that show what frame i shows; not all of them empty.
        texels: the texel under every pixel's centre, frame by frame.
    """
    square_sum, n_values, moran = 0.0, 0, []
    agreement, elsewhere = _Correlation(), _Correlation()
    n_identical = n_same_texel = 0
    before: Float32[np.ndarray, "C P"] | None = None
    for frame, values in enumerate(noise):
        square_sum += float(np.square(values, dtype=np.float64).sum())
        n_values += values.size
        moran.append(morans_i(values))
        now = values.reshape(len(values), -1)
        if before is not None:
            pairs = matches[frame - 1]
            agreement.add(now[:, pairs.here], before[:, pairs.there])
            other = shuffled(pairs, values.shape[2], frame)
            elsewhere.add(now[:, other.here], before[:, other.there])
            same = texels[frame][pairs.here] == texels[frame - 1][pairs.there]
            identical = (now[:, pairs.here[same]] == before[:, pairs.there[same]]).all(axis=0)
            n_same_texel += int(same.sum())
            n_identical += int(identical.sum())
        before = now
    return NoiseFigures(
        std=(square_sum / n_values) ** 0.5,
        morans_i=float(np.mean(moran)),
        correlation=agreement.value,
        correlation_elsewhere=elsewhere.value,
        alignment=n_identical / n_same_texel if n_same_texel else None,
        n_same_texel=n_same_texel,
    )


def morans_i(values: Float32[np.ndarray, "C h w"]) -> float:
    """Correlation of horizontal and vertical neighbours, about 0 for white noise, over all channels.

    Source: Moran (1950), with weight 1 for the four neighbours.
    """
    centred = values.astype(np.float64)
    centred = centred - centred.mean(axis=(1, 2), keepdims=True)
    products = [
        (centred[:, :, 1:] * centred[:, :, :-1]).ravel(),
        (centred[:, 1:] * centred[:, :-1]).ravel(),
    ]
    joined = np.concatenate(products)
    variance = np.square(centred).mean()
    return float(joined.mean() / variance) if joined.size and variance > 0 else 0.0


def shuffled(matches: Matches, width: int, key: int) -> Matches:
    """The same pixels, paired with each other's surface points; none lies next to the right one."""
    order = np.argsort(hashed_uniform(hash_key(0, "elsewhere", key), np.arange(len(matches.here))))
    there = matches.there[order]
    apart = [abs(there % width - matches.there % width), abs(there // width - matches.there // width)]
    far = np.maximum(*apart) >= _FAR_PX
    return Matches(matches.here[far], there[far])


class _Correlation:
    """The correlation of pairs of values about 0, which is their mean, collected piece by piece."""

    def __init__(self) -> None:
        self._product = self._first = self._second = 0.0

    def add(self, first: Float32[np.ndarray, "C N"], second: Float32[np.ndarray, "C N"]) -> None:
        a, b = first.astype(np.float64), second.astype(np.float64)
        self._product += float((a * b).sum())
        self._first += float((a * a).sum())
        self._second += float((b * b).sum())

    @property
    def value(self) -> float | None:
        scale = (self._first * self._second) ** 0.5
        return self._product / scale if scale > 0 else None

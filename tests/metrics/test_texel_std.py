"""Temporal spread of surface points on clips whose spread is known."""

import numpy as np
import pytest
from scenes import rotating_sphere, surface_position

from genrender.metrics.texel_std import MIN_FRAMES, texel_std
from genrender.surface.flow import EROSION_PX, erode
from genrender.surface.texels import texel_ids

CLIP = [rotating_sphere(64, 3.0 * frame) for frame in range(8)]
RNG = np.random.default_rng(0)


def painted():
    """A smooth colour that hangs on the surface."""
    frames = []
    for gbuffer in CLIP:
        place = surface_position(gbuffer)
        color = 0.5 + 0.2 * np.stack([place.real, place.imag, place.real * place.imag], axis=-1)
        frames.append(np.where(gbuffer.visible[..., None], color, 0.0))
    return np.stack(frames)


def test_a_painted_surface_hardly_varies_and_noise_varies_by_its_own_spread():
    still = texel_std(painted(), CLIP)
    assert still.n_points > 100
    assert still.total < 0.03
    noise = RNG.normal(0, 0.1, (8, 64, 64, 3))
    noisy = texel_std(painted() + noise, CLIP)
    assert noisy.total == pytest.approx(0.1, abs=0.035)


def test_what_the_whole_frame_does_is_told_apart():
    flicker = RNG.normal(0, 0.1, (8, 1, 1, 3))
    flickering = texel_std(painted() + flicker, CLIP)
    assert flickering.total > 0.05
    assert flickering.texture < 0.03


def test_too_few_frames_tell_nothing():
    short = texel_std(painted()[:4], CLIP[:4])
    assert short.n_points == 0
    assert np.isnan(short.total)


def test_it_is_the_standard_deviation_of_every_texels_mean_colours():
    frames = RNG.random((8, 64, 64, 3))
    seen: dict[int, list[np.ndarray]] = {}
    for frame, gbuffer in zip(frames, CLIP, strict=True):
        inside = erode(gbuffer.visible, EROSION_PX)
        texel, pixels = texel_ids(gbuffer, 16)[inside], frame[inside]
        for point in np.unique(texel):
            seen.setdefault(int(point), []).append(pixels[texel == point].mean(axis=0))
    often = [np.std(colors, axis=0) for colors in seen.values() if len(colors) >= MIN_FRAMES]
    measured = texel_std(frames, CLIP, side=16)
    assert measured.n_points == len(often) > 20
    assert measured.total == pytest.approx(np.mean(often), abs=1e-9)

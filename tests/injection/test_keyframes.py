import numpy as np
import pytest
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
)
from hypothesis import given
from hypothesis import strategies as st
from scenes import rotating_sphere

from genrender.errors import ConfigError
from genrender.injection.keyframes import (
    choose_keyframes,
    default_n_keyframes,
    keyframe_draws,
    seen_surface,
)

STRATEGIES = ["random", "stratified"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(data=st.data())
def test_keyframes_are_distinct_sorted_frames(strategy, data):
    n_frames = data.draw(st.integers(1, 60))
    n_keyframes = data.draw(st.integers(1, n_frames))
    seed, step = data.draw(st.integers(-5, 2**70)), data.draw(st.integers(0, 1000))
    keyframes = choose_keyframes(n_frames, n_keyframes, strategy, seed, step)
    assert len(keyframes) == n_keyframes
    assert keyframes == sorted(set(keyframes))
    assert set(keyframes) <= set(range(n_frames))
    assert keyframes == choose_keyframes(n_frames, n_keyframes, strategy, seed, step)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_frame_gets_its_turn_about_equally_often(strategy):
    n_steps, n_frames, n_keyframes = 2000, 16, 4
    counts = [0] * n_frames
    for step in range(n_steps):
        for frame in choose_keyframes(n_frames, n_keyframes, strategy, seed=3, step=step):
            counts[frame] += 1
    expected = n_steps * n_keyframes / n_frames
    assert all(abs(count - expected) < 0.2 * expected for count in counts)


def test_uniform_keyframes_stay_and_lie_in_the_middle_of_their_bins():
    assert choose_keyframes(16, 4, "uniform", 0, 0) == [1, 5, 9, 13]
    assert choose_keyframes(16, 4, "uniform", 5, 9) == [1, 5, 9, 13]
    assert choose_keyframes(3, 3, "uniform", 0, 0) == [0, 1, 2]


@given(st.integers(1, 30), st.integers(0, 100), st.integers(0, 2**32))
def test_coverage_always_adds_the_frame_that_shows_most_that_is_new(n_keyframes, step, seed):
    seen = np.random.default_rng(seed).random((30, 40)) < 0.15
    keyframes = choose_keyframes(30, n_keyframes, "coverage", seed, step, seen)
    assert keyframes == sorted(set(keyframes))
    assert len(keyframes) == n_keyframes
    # The promise of greedy coverage (Nemhauser et al. 1978), against every single frame as the rival.
    assert seen[keyframes].any(0).sum() >= (seen.sum(1).max() if n_keyframes > 1 else 0)


def test_coverage_finds_both_sides_of_a_turning_sphere():
    gbuffers = [rotating_sphere(64, angle) for angle in (0, 1, 2, 3, 180, 181)]
    seen = seen_surface(gbuffers)
    for step in range(10):
        first, second = choose_keyframes(6, 2, "coverage", 0, step, seen)
        assert first <= 3
        assert second >= 4
    with pytest.raises(ConfigError, match="coverage needs to know"):
        choose_keyframes(6, 2, "coverage", 0, 0)


def test_steps_and_seeds_differ():
    draws = {tuple(choose_keyframes(32, 4, "random", seed, step)) for seed in range(5) for step in range(10)}
    assert len(draws) > 45


@pytest.mark.parametrize(("n_frames", "n_keyframes"), [(16, 4), (17, 4), (50, 7)])
def test_stratified_takes_one_frame_from_each_bin(n_frames, n_keyframes):
    for step in range(50):
        keyframes = choose_keyframes(n_frames, n_keyframes, "stratified", 0, step)
        for b, frame in enumerate(keyframes):
            assert b * n_frames // n_keyframes <= frame < (b + 1) * n_frames // n_keyframes


def test_default_count():
    counts = [default_n_keyframes(n) for n in (1, 2, 3, 16, 24, 32, 64, 65, 200, 5000)]
    assert counts == [1, 2, 3, 3, 3, 4, 8, 8, 8, 8]


@pytest.mark.parametrize(
    ("scheduler", "draws"),
    [
        (DDIMScheduler(), [0, 1, 2, 3]),
        (DPMSolverMultistepScheduler(), [0, 1, 2, 3]),
        (PNDMScheduler(skip_prk_steps=True), [0, 1, 1, 2, 3]),
        (HeunDiscreteScheduler(), [0, 0, 1, 1, 2, 2, 3]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_evaluations_of_one_step_share_their_keyframes(scheduler, draws):
    scheduler.set_timesteps(4)
    assert keyframe_draws(scheduler.timesteps.tolist(), scheduler.order) == draws


def test_a_midpoint_shares_the_keyframes_of_its_step():
    assert keyframe_draws([999, 973.2, 946.4, 920.6, 893.8], order=2) == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(("n_frames", "n_keyframes"), [(8, 0), (8, 9), (0, 0), (8, -1)])
def test_a_count_out_of_range_is_refused(n_frames, n_keyframes):
    with pytest.raises(ConfigError, match=f"{n_keyframes} keyframes for {n_frames} frames"):
        choose_keyframes(n_frames, n_keyframes, "random", 0, 0)

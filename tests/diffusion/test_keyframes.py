import pytest
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
)
from hypothesis import given
from hypothesis import strategies as st

from genrender.diffusion.keyframes import choose_keyframes, default_n_keyframes, keyframe_draws
from genrender.errors import ConfigError

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

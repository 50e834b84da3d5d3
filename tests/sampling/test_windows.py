"""Laws of windows: they cover a clip, overlap enough, and what all of them say alike is what comes out."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from genrender.sampling.windows import OVERLAP, frame_windows, run_windows


@given(st.integers(1, 200), st.integers(1, 32))
def test_windows_are_consecutive_cover_the_clip_and_overlap(n_frames, length):
    windows = frame_windows(n_frames, length)
    assert sorted({frame for window in windows for frame in window}) == list(range(n_frames))
    for window in windows:
        assert window == list(range(window[0], window[0] + min(length, n_frames)))
    for before, after in pairwise(windows):
        shared = before[-1] - after[0] + 1
        assert shared >= min(OVERLAP, length - 1)
        assert before[0] < after[0]


@given(st.integers(1, 80), st.integers(1, 20))
def test_what_every_window_says_alike_comes_out_for_every_frame_once(n_frames, length):
    def work(frames):
        return torch.tensor(frames, dtype=torch.float64)[:, None]

    yielded = list(run_windows(frame_windows(n_frames, length), work))
    assert [frame for frames, _ in yielded for frame in frames] == list(range(n_frames))
    outputs = torch.cat([output for _, output in yielded])[:, 0]
    torch.testing.assert_close(outputs, torch.arange(n_frames, dtype=torch.float64))


def test_a_frame_in_one_window_is_as_the_window_says_to_the_bit():
    said = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    ((frames, output),) = run_windows(frame_windows(16, 16), lambda frames: said[frames])
    assert frames == list(range(16))
    assert torch.equal(output, said)


def test_between_windows_weights_change_by_small_steps():
    """A frame near the end of a window counts little there: neighbours are not cut apart."""
    windows = frame_windows(28, 16)
    assert len(windows) == 2
    outputs = torch.cat(
        [out for _, out in run_windows(windows, lambda w: torch.full((16, 1), float(w[0] > 0)))]
    )
    steps = outputs[:, 0].diff()
    assert outputs[0] == 0
    assert outputs[-1] == 1
    assert steps.min() >= 0
    assert steps.max() <= 0.25


def test_what_is_done_comes_out_before_the_next_window_runs():
    alive = []

    def work(frames):
        alive.append(frames)
        return torch.zeros(len(frames), 1)

    for number, (done, _) in enumerate(run_windows(frame_windows(100, 16), work), start=1):
        assert len(alive) == number
        assert max(done) <= alive[-1][-1]

"""Two runs at once that share a model make what each makes alone: they take turns."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pipelines import FULL
from tiny_models import sliding_card, tiny_pipeline

from genrender.backbones.families import backbone_of
from genrender.sampling.loop import decode_frames

CLIPS = (sliding_card(3, 40, 56), sliding_card(4, 48, 40))
RUNS = (
    {"prompt": "a red fox", "gbuffers": CLIPS[0], "num_inference_steps": 3, "object_prompts": {1: "blue"}},
    {"prompt": "a green duck", "gbuffers": CLIPS[1], "num_inference_steps": 4, "guidance_scale": 1.0},
)


def test_two_threads_with_one_pipeline_make_the_frames_that_they_make_one_after_another():
    pipe = tiny_pipeline()
    alone = [pipe(config=FULL, **run).frames for run in RUNS]
    started = threading.Barrier(2)

    def together(run):
        started.wait()
        return [pipe(config=FULL, **run).frames for _ in range(3)]

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(together, RUNS))
    for expected, frames in zip(alone, found, strict=True):
        assert all(np.array_equal(each, expected) for each in frames)
    assert expected.std() > 0.01


def test_networks_taken_by_one_thread_are_waited_for_and_free_again_after_an_error():
    backbone, entered = backbone_of(tiny_pipeline()), threading.Event()

    def enter():
        with backbone.reserved():
            entered.set()

    def fail_inside():
        with backbone.reserved(), backbone.reserved():
            other.start()
            assert not entered.wait(0.2)
            raise KeyError

    other = threading.Thread(target=enter)
    with pytest.raises(KeyError):
        fail_inside()
    assert entered.wait(10)
    other.join()


def test_pipelines_that_share_one_network_wait_for_each_other():
    first, second = tiny_pipeline(), tiny_pipeline()
    entered = threading.Event()

    def enter():
        with backbone_of(second).reserved():
            entered.set()

    second.vae = first.vae
    other = threading.Thread(target=enter)
    with backbone_of(first).reserved():
        other.start()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    other.join()


def test_frames_that_nobody_asks_for_any_more_keep_nothing_waiting():
    pipe = tiny_pipeline()
    latents = pipe("a fox", CLIPS[0], num_inference_steps=1, output_type="latent").latents
    frames = decode_frames(backbone_of(pipe), latents)
    next(frames)
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(pipe, "a fox", CLIPS[0], num_inference_steps=1).result(timeout=60)
    assert np.array_equal(result.frames[1], next(frames))

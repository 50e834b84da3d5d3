"""The estimate before a run: proportional to what is asked for, and timed on the networks that will run."""

import pytest
from tiny_models import tiny_components
from tiny_motion import WINDOW, motion_pipeline

from genrender.backbones.families import backbone_of
from genrender.backbones.protocol import Conditions
from genrender.backbones.recipe import Control
from genrender.jobs.pace import Estimate, frames_at_once, seconds_per_frame
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.storage.limits import duration_as_text, network_memory


def test_a_pass_is_timed_and_changes_nothing():
    pipeline = GenerativeRenderingPipeline(**tiny_components())
    before = {name: tensor.clone() for name, tensor in pipeline.unet.state_dict().items()}
    backbone, conditions = backbone_of(pipeline), Conditions("a fox", object_prompts={1: "a tail"})
    small, large = (
        min(seconds_per_frame(backbone, conditions, (side, side)) for _ in range(2)) for side in (4, 64)
    )
    assert 0 < small < large
    assert all((tensor == before[name]).all() for name, tensor in pipeline.unet.state_dict().items())


def test_controls_that_end_before_the_run_does_are_timed():
    pipeline = GenerativeRenderingPipeline(**tiny_components())
    asked = []
    pipeline.controlnet.register_forward_pre_hook(lambda *_: asked.append(1))
    seconds_per_frame(backbone_of(pipeline), Conditions("a fox", controls=(Control(end=0.5),)), (4, 4))
    assert len(asked) == 2


def test_motion_modules_see_a_window_whatever_the_chunk():
    assert frames_at_once(motion_pipeline().unet, 2) == WINDOW
    assert frames_at_once(GenerativeRenderingPipeline(**tiny_components()).unet, 2) == 2


def test_estimates_grow_with_what_is_asked_for():
    one = Estimate(0.1, 10, 20, 0, 0).seconds
    assert one >= 0.1 * 10 * 20
    assert Estimate(0.1, 20, 40, 0, 0).seconds == pytest.approx(4 * one)
    assert network_memory(128 * 128, 1) < network_memory(128 * 128, 8) < network_memory(256 * 256, 8)
    # Measured with pocket: 135 MB more than the loaded model for eight frames of 128 x 128.
    assert network_memory(128 * 128, 8) == pytest.approx(135e6, rel=0.1)


def test_times_as_people_say_them():
    texts = [duration_as_text(seconds) for seconds in (0.1, 4.4, 89, 90, 200, 720, 5400, 9000)]
    assert texts == ["1 s", "4 s", "89 s", "2 min", "3 min", "12 min", "1.5 h", "2.5 h"]

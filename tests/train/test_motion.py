"""Motion modules: clips that show one look in all frames, and a training that touches nothing else."""

import numpy as np
import pytest
import torch
from diffusers import MotionAdapter, UNetMotionModel
from tiny_models import tiny_unet

from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Recipe
from genrender.errors import ConfigError
from genrender.train.motion import MotionTraining, new_adapter, train_motion
from genrender.train.motion_clips import make_moving_sample


def test_a_clip_is_determined_by_its_seed():
    first, second = (make_moving_sample((1, 2), 64, 3) for _ in range(2))
    assert first.caption == second.caption
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.depth, second.depth)
    assert not np.array_equal(first.images, make_moving_sample((1, 3), 64, 3).images)


def test_things_move_and_keep_their_colours():
    changes, spreads = [], []
    for index in range(8):
        sample = make_moving_sample((7, index), 64, 6)
        images, on_object = sample.images.astype(np.float64) / 255, sample.depth > 0
        changes.append(float(np.abs(np.diff(sample.depth.astype(np.float64), axis=0)).mean()))
        means = np.stack([image[mask].mean(axis=0) for image, mask in zip(images, on_object, strict=True)])
        spreads.append(float(means.std(axis=0).max()))
    assert min(changes) > 0.01
    assert max(spreads) < 0.1


def test_untrained_modules_change_nothing():
    unet = tiny_unet()
    moving = UNetMotionModel.from_unet2d(unet, new_adapter(unet, 4)).eval()
    latents = torch.randn(4, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    text = torch.randn(4, 6, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = unet(latents, torch.tensor(500), text).sample
        clip = moving(latents[None].transpose(1, 2), torch.tensor(500), text).sample[0].transpose(0, 1)
    torch.testing.assert_close(clip, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_training_goes_on_and_gives_an_adapter_for_the_same_unet(tmp_path):
    training = {"work_dir": tmp_path, "out": tmp_path / "adapter", "clips": 2, "n_frames": 4}
    train_motion(MotionTraining(**training, steps=2))
    first = torch.load(tmp_path / "motion.pt", weights_only=True)
    assert first["step"] == 2
    train_motion(MotionTraining(**training, steps=3))
    state = torch.load(tmp_path / "motion.pt", weights_only=True)
    assert state["step"] == 3
    changed = [name for name in state["model"] if not torch.equal(state["model"][name], first["model"][name])]
    assert changed
    assert all("motion_modules" in name for name in changed)
    adapter = MotionAdapter.from_pretrained(training["out"])
    assert adapter.config.motion_max_seq_length == 4
    networks = load_networks(Recipe("pocket", motion_adapter=str(training["out"]), device="cpu"))
    assert networks.unet.config.motion_max_seq_length == 4


def test_a_count_below_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="clips is 0, expected at least 1"):
        train_motion(MotionTraining(tmp_path, tmp_path / "adapter", clips=0))

"""The training code on tiny sizes: tokenizer, shards, and a resumed run that equals an uninterrupted one."""

import numpy as np
import pytest
import torch

from genrender.errors import ConfigError
from genrender.train import data as shards
from genrender.train.diffusion import cleaner_region
from genrender.train.loop import LoopConfig, learning_rate, train
from genrender.train.pocket import PocketTraining, train_pocket
from genrender.train.tokenizer import write_tokenizer
from genrender.train.vocabulary import vocabulary


def test_every_word_of_the_vocabulary_is_one_token(tmp_path):
    tokenizer = write_tokenizer(tmp_path, vocabulary())
    lengths = {word: len(tokenizer(word).input_ids) for word in vocabulary()}
    assert set(lengths.values()) == {3}  # start, word, end
    assert len(tokenizer("xylophone").input_ids) > 3


def test_shards_are_the_same_whoever_makes_them(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_SIZE", 3)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shards.write_shard(tmp_path / name, 32, 4, 7)
    one, two = (shards.read_shard(tmp_path / name, 7) for name in ("one", "two"))
    np.testing.assert_array_equal(one.image, two.image)
    assert one.captions == two.captions
    assert shards.complete_shards(tmp_path / "one") == [7]


class Stopped(Exception):
    pass


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path):
    config = LoopConfig(steps=8, batch=4, warmup=2, checkpoint_s=0.0)

    def run(checkpoint, stop_at=None):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))

        def loss_at(model, step):
            if step == stop_at:
                raise Stopped
            x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            return loss, {"loss": float(loss.detach())}

        return train(model, loss_at, config, checkpoint, "test").state_dict()

    whole = run(tmp_path / "whole.pt")
    with pytest.raises(Stopped):
        run(tmp_path / "part.pt", stop_at=5)
    resumed = run(tmp_path / "part.pt")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_learning_rate_rises_holds_and_falls():
    config = LoopConfig(steps=1000, warmup=100, learning_rate=1.0)
    assert learning_rate(config, 0) == pytest.approx(0.01)
    assert learning_rate(config, 500) == 1.0
    assert learning_rate(config, 999) == pytest.approx(0.1, abs=0.01)


def test_a_cleaner_region_never_covers_the_picture():
    ids = np.zeros((16, 16), np.uint8)
    ids[2:6, 2:6], ids[9:14, 8:15] = 1, 2
    rng = np.random.default_rng(0)
    shares = [cleaner_region(rng, ids).mean() for _ in range(200)]
    assert max(shares) < 0.9
    assert min(shares) > 0.0


def test_a_stage_without_its_input_says_which_stage_makes_it(tmp_path):
    for stage, needed in (("vae", "data"), ("diffusion", "vae"), ("export", "diffusion")):
        with pytest.raises(ConfigError, match=f"--stage {needed}"):
            train_pocket(PocketTraining(tmp_path, tmp_path / "out", stage=stage))
    with pytest.raises(ConfigError, match="steps is 0"):
        train_pocket(PocketTraining(tmp_path, tmp_path / "out", steps=0))


@pytest.mark.slow
def test_the_whole_training_ends_with_a_folder_that_paints(tmp_path, monkeypatch):
    from scenes import rotating_sphere

    from genrender.pipeline import load_pipeline

    monkeypatch.setattr(shards, "SHARD_SIZE", 8)
    monkeypatch.setattr("genrender.train.vae.SHARD_SIZE", 8)
    config = PocketTraining(
        tmp_path / "work", tmp_path / "model", shards=2, vae_steps=2, steps=2, batch=2, workers=1
    )
    train_pocket(config)
    pipe = load_pipeline(str(tmp_path / "model"))
    gbuffers = [rotating_sphere(128, 0.0), rotating_sphere(128, 10.0)]
    result = pipe("a red ball", gbuffers, num_inference_steps=2)
    assert result.frames.shape == (2, 128, 128, 3)
    assert np.isfinite(result.frames).all()

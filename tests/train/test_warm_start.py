"""The shipped weights, for 128 pixels, as a start for a model that paints 256."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from transformers import CLIPModel, CLIPTokenizer

from genrender.backbones.sources import POCKET_FOLDER
from genrender.train import data as shards
from genrender.train.loop import LoopConfig, save_checkpoint
from genrender.train.models import SIZES, text_tower
from genrender.train.pocket import PocketTraining, train_pocket
from genrender.train.tokenizer import tokenize, write_tokenizer
from genrender.train.vae import train_vae
from genrender.train.vocabulary import LATER_WORDS, vocabulary
from genrender.train.warm_start import picture_side, smaller_encoder, start_weights
from genrender.train.words import confused_words

SIZE = SIZES["cpu"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> CLIPTokenizer:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"), vocabulary())


@pytest.fixture(scope="module")
def started(tokenizer) -> dict[str, Any]:
    torch.manual_seed(0)
    return cast(Any, start_weights(POCKET_FOLDER, SIZE, tokenizer))


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    kinds = {
        "vae": AutoencoderTiny,
        "unet": UNet2DConditionModel,
        "controlnet": ControlNetModel,
        "clip": CLIPModel,
    }
    return {
        name: kind.from_pretrained(POCKET_FOLDER / name, torch_dtype=torch.float32).eval()
        for name, kind in kinds.items()
    }


def test_what_is_shipped_is_of_half_the_side():
    assert 2 * picture_side(POCKET_FOLDER) == SIZE.image
    assert smaller_encoder(POCKET_FOLDER, SIZE) is not None


def test_at_its_own_size_all_of_it_is_kept_and_new_words_join(tokenizer, shipped):
    same = cast(Any, start_weights(POCKET_FOLDER, SIZES["small"], tokenizer))
    for name in ("vae", "unet", "controlnet"):
        kept, before = same[name].state_dict(), shipped[name].state_dict()
        assert kept.keys() == before.keys()
        for key, value in before.items():
            torch.testing.assert_close(kept[key], value, rtol=0, atol=0)
    earlier = CLIPTokenizer.from_pretrained(POCKET_FOLDER / "tokenizer")
    words, known = (clip.text_model.get_input_embeddings().weight for clip in (same["clip"], shipped["clip"]))
    for word in ("red", "striped", "fox"):
        assert torch.equal(words[tokenizer(word).input_ids[1]], known[earlier(word).input_ids[1]])
    assert (len(words), len(known)) == (len(tokenizer), len(earlier))


@torch.no_grad()
def test_the_first_channels_are_denoised_as_before_where_the_new_ones_hold_nothing(started, shipped):
    generator = torch.Generator().manual_seed(0)
    known, rest = (
        shipped["unet"].config.in_channels,
        SIZE.latent_channels - shipped["unet"].config.in_channels,
    )
    noisy = torch.randn(2, known, 32, 32, generator=generator)
    text, timestep = torch.randn(2, 32, 128, generator=generator), torch.tensor([100, 700])
    before = shipped["unet"](noisy, timestep, text, return_dict=False)[0]
    wider = torch.cat([noisy, torch.zeros(2, rest, 32, 32)], 1)
    after = started["unet"].eval()(wider, timestep, text, return_dict=False)[0]
    torch.testing.assert_close(after[:, :known], before, atol=1e-4, rtol=0)
    assert after[:, known:].std() < 0.3 * after[:, :known].std()
    for name, value in shipped["controlnet"].state_dict().items():
        if name.startswith(("down_blocks", "mid_block", "controlnet_down_blocks")):
            assert torch.equal(started["controlnet"].state_dict()[name], value), name


@torch.no_grad()
def test_the_decoders_levels_count_from_the_latents(started, shipped):
    """Up to the shipped one's last level both compute the same."""
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    wider = torch.cat([latents, torch.zeros(1, 4, 8, 8)], 1)
    old, new = shipped["vae"].decoder.layers, started["vae"].decoder.layers
    torch.testing.assert_close(new[:11](wider), old[:11](latents), atol=1e-5, rtol=0)
    assert torch.equal(new[14].weight, old[11].weight)
    old, new = shipped["vae"].encoder.layers, started["vae"].encoder.layers
    features = torch.randn(1, 48, 16, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(new[3:](features)[:, :4], old[1:](features), atol=1e-5, rtol=0)


@torch.no_grad()
def test_its_clip_sees_the_same_picture_at_twice_the_size_and_reads_the_same_words(
    started, shipped, tokenizer
):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, 256, 256, generator=generator)
    after = started["clip"].eval().vision_model(pixels).pooler_output
    before = shipped["clip"].vision_model(F.avg_pool2d(pixels, 2)).pooler_output
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)
    sentences = ["a red and white striped fox on a green background", "two wooden chairs"]
    earlier = CLIPTokenizer.from_pretrained(POCKET_FOLDER / "tokenizer")
    hidden = [
        clip.text_model(tokenize(words, sentences)).last_hidden_state
        for clip, words in ((started["clip"].eval(), tokenizer), (shipped["clip"], earlier))
    ]
    torch.testing.assert_close(*hidden, atol=1e-5, rtol=0)


def test_later_words_are_kept_apart(started, tokenizer):
    assert not [
        pair
        for pair in confused_words(text_tower(started["clip"]), tokenizer)
        if set(pair) & set(LATER_WORDS)
    ]


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_SIZE", 8)
    monkeypatch.setattr("genrender.train.vae.SHARD_SIZE", 8)


@pytest.mark.usefixtures("small_shards")
def test_one_command_starts_from_what_is_shipped(tmp_path):
    few = {"vae_steps": 1, "clip_steps": 1, "steps": 1}
    config = PocketTraining(
        tmp_path, tmp_path / "model", shards=1, batch=1, workers=1, init=Path("pocket"), **few
    )
    for stage in ("data", "vae", "clip", "diffusion", "export"):
        train_pocket(replace(config, stage=stage))
    assert picture_side(tmp_path / "model") == SIZE.image
    before, after = (
        CLIPModel.from_pretrained(folder / "clip", torch_dtype=torch.float32)
        for folder in (POCKET_FOLDER, tmp_path / "model")
    )
    for name, value in before.text_model.encoder.state_dict().items():
        assert torch.equal(after.text_model.encoder.state_dict()[name], value), name
    assert not torch.equal(before.visual_projection.weight, after.visual_projection.weight)


@pytest.mark.usefixtures("small_shards")
def test_the_autoencoder_is_held_near_the_smaller_ones_latents(tmp_path, started, shipped):
    folder = tmp_path / "pictures"
    shards.write_shards(folder, 1, SIZE.image, SIZE.latent_side)
    pictures = torch.from_numpy(shards.read_shard(folder, 0).image[:4].copy())
    pictures = pictures.permute(0, 3, 1, 2) / 127.5 - 1

    @torch.no_grad()
    def away(vae) -> float:
        kept = shipped["vae"].encode(F.avg_pool2d(pictures, 2)).latents
        return float((vae.encode(pictures).latents[:, : kept.shape[1]] - kept).square().mean())

    def trained(smaller, checkpoint) -> float:
        state = started["vae"].state_dict()
        save_checkpoint(checkpoint, {"model": state, "averaged": state, "step": 0})
        config = LoopConfig(steps=10, batch=2, learning_rate=1e-3, warmup=1, ema=0.5)
        return away(train_vae(folder, SIZE, checkpoint, config, smaller=smaller))

    held = trained(smaller_encoder(POCKET_FOLDER, SIZE), tmp_path / "held.pt")
    free = trained(None, tmp_path / "free.pt")
    assert held < 0.5 * min(free, away(started["vae"]))

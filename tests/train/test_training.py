"""The training code on tiny sizes: tokenizer, shards, and a resumed run that equals an uninterrupted one."""

import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pretend_gpu
import psutil
import pytest
import torch
from scenes import rotating_sphere
from transformers import CLIPModel

from genrender.backbones.sources import POCKET_FOLDER
from genrender.errors import ConfigError, MediaError
from genrender.media.images import read_png
from genrender.pipeline import load_pipeline
from genrender.scene.formats.gltf.write import GltfScene, MeshNode, write_glb
from genrender.scene.procedural.primitives import sphere
from genrender.train import data as shards
from genrender.train.clip import look_loss, word_loss
from genrender.train.diffusion import (
    PATTERNED_SHARE,
    cleaner_region,
    draw_pictures,
    encode_pictures,
    names_one_pattern,
    spread_timesteps,
    weights_hash,
)
from genrender.train.loop import LoopConfig, learning_rate, train
from genrender.train.models import SIZES, make_clip, make_vae, text_tower
from genrender.train.pause import PAUSE_FILE
from genrender.train.pocket import PocketTraining, pictures_folder, train_pocket
from genrender.train.report import ReportConfig, report
from genrender.train.tokenizer import write_tokenizer
from genrender.train.vocabulary import vocabulary
from genrender.train.words import confused_words, word_distances


def test_every_word_of_the_vocabulary_is_one_token(tmp_path):
    tokenizer = write_tokenizer(tmp_path, vocabulary())
    lengths = {word: len(tokenizer(word).input_ids) for word in vocabulary()}
    assert set(lengths.values()) == {3}  # start, word, end
    assert len(tokenizer("xylophone").input_ids) > 3


def test_words_have_the_same_numbers_whenever_they_are_numbered(tmp_path):
    """Each stage of a training, and each that goes on, would else take a word for another."""
    written = set()
    for number in range(12):
        write_tokenizer(tmp_path / str(number), vocabulary())
        written.add((tmp_path / str(number) / "vocab.json").read_text())
    assert len(written) == 1


def test_numbers_of_words_that_networks_were_trained_with_stay(tmp_path):
    write_tokenizer(tmp_path, vocabulary())
    known = json.loads((tmp_path / "vocab.json").read_text())
    known["cat</w>"], known["car</w>"] = known["car</w>"], known["cat</w>"]
    (tmp_path / "vocab.json").write_text(json.dumps(known))
    assert write_tokenizer(tmp_path, vocabulary()).get_vocab()["cat</w>"] == known["cat</w>"]
    # But one that lacks a word, or was not written to its end, is none to keep.
    assert write_tokenizer(tmp_path, [*vocabulary(), "abacus"]).get_vocab()["abacus</w>"]
    (tmp_path / "vocab.json").write_text("{")
    (tmp_path / "tokenizer_config.json").unlink()
    assert len(write_tokenizer(tmp_path, vocabulary())("cat").input_ids) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_of_any_precision_have_a_short_name(dtype):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).to(
        dtype
    )  # with a lone number
    name = weights_hash(model)
    assert weights_hash(model) == name
    torch.nn.init.constant_(model[0].bias, 7)
    assert weights_hash(model) != name


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
    begun: list[int] = []

    def run(checkpoint, stop_at=None):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))

        def loss_at(model, step):
            begun.append(step)
            if step == stop_at:
                raise Stopped
            dtype = next(model.parameters()).dtype
            x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step)).to(dtype)
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            return loss, {"loss": float(loss.detach())}

        return train(model, loss_at, config, checkpoint, "test").state_dict()

    whole = run(tmp_path / "whole.pt")
    with pytest.raises(Stopped):
        run(tmp_path / "part.pt", stop_at=5)
    resumed = run(tmp_path / "part.pt")
    # It goes on where it was stopped; begun anew it would end with the same weights.
    assert begun == [*range(8), *range(6), *range(5, 8)]
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.parametrize("in_bfloat16", [False, True])
def test_a_resumed_run_goes_on_with_the_statistics_of_its_normalisation(tmp_path, monkeypatch, in_bfloat16):
    monkeypatch.setattr("genrender.train.loop.computes_in_bfloat16", lambda _device: in_bfloat16)
    config = LoopConfig(steps=6, batch=4, warmup=2, checkpoint_s=0.0)

    def run(checkpoint, stop_at=None):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8))

        def loss_at(model, step):
            if step == stop_at:
                raise Stopped
            x = 5 + torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
            return model(x.to(model[0].weight.dtype)).square().mean(), {}

        train(model, loss_at, config, checkpoint, "test")
        return torch.load(checkpoint, weights_only=True)

    whole = run(tmp_path / "whole.pt")
    with pytest.raises(Stopped):
        run(tmp_path / "part.pt", stop_at=3)
    resumed = run(tmp_path / "part.pt")
    for part in ("model", "averaged"):
        assert whole[part]["1.num_batches_tracked"] == config.steps
        for name, value in whole[part].items():
            assert torch.equal(value, resumed[part][name]), (part, name)


def test_small_steps_add_up_in_the_masters_though_weights_are_computed_in_bfloat16(tmp_path):
    """At 1, bfloat16 knows no number nearer than 1/256; a thousand steps of 1e-5 must not be lost."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)

    def loss_at(model, _step):
        return model(torch.ones(1, 1, dtype=next(model.parameters()).dtype)).sum(), {}

    config = LoopConfig(steps=50, batch=1, learning_rate=1e-5, warmup=1)
    train(model, loss_at, config, tmp_path / "c.pt", "test")
    moved = 1 - float(model.weight.detach())
    # Adam moves by the rate; it falls to a tenth over the last quarter.
    assert moved == pytest.approx(1e-5 * (37.5 + 12.5 * 0.55), rel=0.05)


def test_training_stands_still_while_a_file_called_pause_is_there(tmp_path):
    pause = tmp_path / PAUSE_FILE
    pause.touch()
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            pause.unlink()

    def loss_at(model, _step):
        assert len(waited) == 3
        return model(torch.ones(1, 1, dtype=next(model.parameters()).dtype)).sum(), {}

    with patch("genrender.train.pause.time.sleep", sleep):
        train(torch.nn.Linear(1, 1), loss_at, LoopConfig(steps=1), tmp_path / "c.pt", "test")
    assert torch.load(tmp_path / "c.pt", weights_only=True)["step"] == 1


def test_a_checkpoint_counts_the_pictures_of_earlier_runs_too(tmp_path):
    model = torch.nn.Linear(1, 1)
    state = model.state_dict()
    torch.save({"model": state, "averaged": state, "step": 0, "seen": 1000}, tmp_path / "c.pt")

    def loss_at(model, _step):
        return model(torch.ones(1, 1, dtype=next(model.parameters()).dtype)).sum(), {}

    for steps in (3, 5):
        train(model, loss_at, LoopConfig(steps=steps, batch=4), tmp_path / "c.pt", "test")
    assert torch.load(tmp_path / "c.pt", weights_only=True)["seen"] == 1020


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


def test_fewer_steps_than_a_checkpoint_has_leave_it_alone(tmp_path):
    def loss_at(model, step):
        ones = torch.ones(1, 1, dtype=next(model.parameters()).dtype)
        return model(ones).sum(), {"loss": float(step)}

    for steps in (6, 2):
        train(torch.nn.Linear(1, 1), loss_at, LoopConfig(steps=steps), tmp_path / "c.pt", "test")
    assert torch.load(tmp_path / "c.pt", weights_only=True)["step"] == 6


def test_progress_stays_off_standard_output(tmp_path, capsys):
    def loss_at(model, step):
        ones = torch.ones(1, 1, dtype=next(model.parameters()).dtype)
        return model(ones).sum(), {"loss": float(step)}

    train(torch.nn.Linear(1, 1), loss_at, LoopConfig(steps=2), tmp_path / "c.pt", "test")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "test" in captured.err


def test_what_cannot_work_is_said_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="abacus"):
        train_pocket(PocketTraining(tmp_path / "work", tmp_path / "out", device="abacus"))
    with pytest.raises(MediaError, match="file"):
        train_pocket(PocketTraining(tmp_path / "file" / "work", tmp_path / "out"))
    assert not (tmp_path / "work").exists()


def test_a_stage_without_its_input_says_which_stage_makes_it(tmp_path):
    needs = {"vae": "data", "clip": "data", "diffusion": "vae", "export": "diffusion", "report": "export"}
    for stage, needed in needs.items():
        with pytest.raises(ConfigError, match=f"--stage {needed}"):
            train_pocket(PocketTraining(tmp_path, tmp_path / "out", stage=stage))
    with pytest.raises(ConfigError, match="steps is 0"):
        train_pocket(PocketTraining(tmp_path, tmp_path / "out", steps=0))


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_SIZE", 8)
    monkeypatch.setattr("genrender.train.vae.SHARD_SIZE", 8)


@pytest.mark.usefixtures("small_shards")
def test_the_whole_training_ends_with_a_folder_that_paints(tmp_path, monkeypatch):
    # What the report takes for its figures is made in the same way, be it two hundred renders or some.
    monkeypatch.setattr("genrender.train.report.N_RENDERS", 40)
    monkeypatch.setattr("genrender.train.report.N_RETRIEVAL_PAIRS", 8)
    work = tmp_path / "work"
    few = {"vae_steps": 2, "clip_steps": 2, "judge_steps": 2, "steps": 2}
    # Of the shipped size; the test on a GPU and test_warm_start go through the stages at 256 pixels.
    config = PocketTraining(work, tmp_path / "model", "small", shards=2, batch=2, workers=1, **few)
    for stage in ("data", "vae", "clip", "judge", "diffusion", "export"):
        train_pocket(replace(config, stage=stage))
    pipe = load_pipeline(str(tmp_path / "model"))
    gbuffers = [rotating_sphere(128, 0.0), rotating_sphere(128, 10.0)]
    result = pipe("a red ball", gbuffers, num_inference_steps=2)
    assert result.frames.shape == (2, 128, 128, 3)
    assert np.isfinite(result.frames).all()

    glb = tmp_path / "ball.glb"
    write_glb(glb, GltfScene((MeshNode("ball", sphere()),)))
    wanted = ReportConfig(
        n_steps=2, n_pictures=2, n_open_prompts=1, characters=(f"{glb}=ball",), n_per_character=1, n_frames=8
    )
    figures = report(tmp_path / "model", tmp_path / "report", wanted)
    for name in ("shapes_silhouette_iou", "characters_look", "clip_retrieval_top1"):
        assert 0 <= figures[name] <= 1
    for name in ("shared_keys_spread_ratio", "injected_surface_error_ratio", "injected_sharpness_ratio"):
        assert figures[name] > 0
    assert read_png(tmp_path / "report" / "shapes.png").shape[1] == 128

    # The weights of a finished model start another training, whose parts are all there from the beginning.
    another = replace(config, work_dir=tmp_path / "more", init=tmp_path / "model", stage="diffusion")
    (tmp_path / "more").mkdir()
    pictures = pictures_folder(config)
    pictures.rename(pictures_folder(another))
    train_pocket(another)
    # An export replaces a model's folder whole, and no other one.
    out = tmp_path / "model2"
    out.mkdir()
    (out / "novel.txt").write_text("the only copy")
    with pytest.raises(
        ConfigError, match=r"'novel.txt' there is of no pocket model.*give --out a new folder"
    ):
        train_pocket(replace(another, stage="export", out=out))
    assert [file.name for file in out.iterdir()] == ["novel.txt"]
    (out / "novel.txt").rename(tmp_path / "novel.txt")
    train_pocket(replace(another, stage="export", out=out))
    (out / "unet" / "of_an_earlier_version.txt").write_text("")
    train_pocket(replace(another, stage="export", out=out))
    assert not (out / "unet" / "of_an_earlier_version.txt").exists()
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
    pictures_folder(another).rename(pictures)

    # The CLIP's view of pictures may improve afterwards, because the text that the UNet reads stays.
    train_pocket(replace(config, stage="vision", clip_steps=4))
    train_pocket(replace(config, stage="export", out=tmp_path / "model3"))
    before, after = (CLIPModel.from_pretrained(tmp_path / f"model{name}" / "clip") for name in ("", "3"))
    changed = {
        name.split(".")[0]
        for name, value in before.state_dict().items()
        if not torch.equal(value, after.state_dict()[name])
    }
    assert "text_model" not in changed
    assert "vision_model" in changed

    # An autoencoder trained on makes the latents stale: export says so instead of pairing strangers.
    train_pocket(replace(config, stage="vae", vae_steps=4))
    with pytest.raises(ConfigError, match="has changed"):
        train_pocket(replace(config, stage="export"))


def train_on_device(config: PocketTraining) -> None:
    is_pretended = config.device == pretend_gpu.NAME
    with (
        patch("genrender.train.vae.SHARD_SIZE", 8),
        pretend_gpu.pretended() if is_pretended else nullcontext(),
    ):
        for stage in ("vae", "clip", "diffusion", "export"):
            train_pocket(replace(config, stage=stage))
        train_pocket(replace(config, stage="diffusion", steps=2))  # goes on from the checkpoint


@pytest.mark.usefixtures("small_shards")
def test_all_stages_run_on_a_gpu(tmp_path, device):
    few = {"vae_steps": 1, "clip_steps": 1, "steps": 1, "device": str(device)}
    config = PocketTraining(tmp_path / "work", tmp_path / "model", shards=2, batch=2, workers=1, **few)
    train_pocket(replace(config, stage="data"))
    # In a process of its own: where autograd has run, it takes no new device.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(train_on_device, config).result()
    pipe = load_pipeline(str(tmp_path / "model"), device="cpu")
    assert np.isfinite(pipe("a red ball", [rotating_sphere(256, 0.0)], num_inference_steps=1).frames).all()


@pytest.mark.usefixtures("small_shards")
def test_latents_are_encoded_anew_for_another_autoencoder(tmp_path):
    tokenizer = write_tokenizer(tmp_path / "tokenizer", vocabulary())
    shards.write_shard(tmp_path, 32, 4, 0)
    first, second = make_vae(SIZES["cpu"]), make_vae(SIZES["cpu"])
    one = encode_pictures(tmp_path, first, tokenizer, "cpu")
    other = encode_pictures(tmp_path, second, tokenizer, "cpu")
    again = encode_pictures(tmp_path, first, tokenizer, "cpu")
    assert not torch.equal(one.latents, other.latents)
    assert torch.equal(one.latents, again.latents)
    assert len(list(tmp_path.glob("*.latents-*.pt"))) == 2


@pytest.mark.usefixtures("small_shards")
def test_weights_to_start_from_must_be_there_and_fit(tmp_path):
    def start(init, size="cpu"):
        config = PocketTraining(tmp_path / "work", tmp_path / "out", size, stage="diffusion", init=init)
        shards.write_shards(pictures_folder(config), 1, 32, 4)
        train_pocket(config)

    with pytest.raises(ConfigError, match="no pocket model"):
        start(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "vocabulary.json").write_text('["abacus"]')
    with pytest.raises(ConfigError, match="other words"):
        start(tmp_path / "other")
    known = shutil.copytree(POCKET_FOLDER, tmp_path / "known")  # with other weights, but all words
    (known / "vocabulary.json").write_text(json.dumps(vocabulary()))
    with pytest.raises(ConfigError, match="do not fit size 'gpu'"):
        start(known, "gpu")
    assert not (tmp_path / "work" / "denoiser-gpu.pt").exists()


@pytest.mark.parametrize(
    ("caption", "is_one"),
    [
        ("a red and white striped fox on a green background", True),
        ("a fox with blue and yellow checks", True),
        ("a red fox on a green background", False),
        ("a striped fox", False),
        ("two red and white striped foxes", False),
        ("a red and white striped fox and a blue box on a green ground", False),
    ],
)
def test_pictures_of_one_named_pattern_are_told_by_their_caption(caption, is_one):
    assert names_one_pattern(caption) == is_one


def test_half_of_a_training_is_single_patterns():
    """And what is no single pattern is drawn alike."""
    rng = np.random.default_rng(0)
    patterned = np.arange(100) % 10 == 0
    picked = draw_pictures(rng, patterned, 100_000)
    share = PATTERNED_SHARE + (1 - PATTERNED_SHARE) * 0.1
    assert abs(patterned[picked].mean() - share) < 0.01
    counts = np.bincount(picked, minlength=100)
    assert abs(counts[~patterned] / counts[~patterned].mean() - 1).max() < 0.2
    none = np.zeros(100, bool)
    assert (np.bincount(draw_pictures(rng, none, 100_000), minlength=100) > 800).all()


def test_every_batch_of_timesteps_follows_the_same_distribution():
    rng = np.random.default_rng(0)
    batches = np.stack([spread_timesteps(rng, 40) for _ in range(200)])
    assert batches.min() >= 0
    assert batches.max() <= 999
    middle = (batches >= 300) & (batches < 800)
    assert set(middle.sum(1)) == {30}  # 0.75 of 40, in every single batch
    assert abs(batches[:, 0].mean() - batches.mean()) < 50  # no row of a batch is special


def test_words_that_a_text_encoder_maps_to_one_place_are_named(tmp_path):
    tokenizer = write_tokenizer(tmp_path, vocabulary())
    text_encoder = text_tower(make_clip(tokenizer, SIZES["cpu"]))
    assert confused_words(text_encoder, tokenizer) == []  # random weights keep all words apart
    assert min(word_distances(text_encoder, tokenizer).values()) > 0.1

    words = text_encoder.get_input_embeddings().weight
    striped, checkered = (tokenizer(word).input_ids[1] for word in ("striped", "checkered"))
    with torch.no_grad():
        words[checkered] = words[striped]
    assert confused_words(text_encoder, tokenizer) == [("striped", "checkered")]


def test_a_text_tower_pays_for_words_that_it_cannot_tell_apart():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(30, 64, generator=generator)
    specials = torch.tensor([28, 29])
    ids = torch.tensor([[28, 3, 7, 29], [28, 5, 7, 29]])
    apart = embeddings[ids]
    assert word_loss(apart, embeddings, ids, specials) < 0.01
    merged = apart.clone()
    merged[:, 1] = (embeddings[3] + embeddings[5]) / 2
    # Two of four words could be either of two.
    assert word_loss(merged, embeddings, ids, specials) > 0.3
    elsewhere = apart.clone()
    elsewhere[:, [0, 3]] = 0
    assert torch.equal(
        word_loss(elsewhere, embeddings, ids, specials), word_loss(apart, embeddings, ids, specials)
    )


def test_the_look_loss_asks_only_for_the_look():
    logits = torch.tensor([[2.0, 9.0, 0.0, 0.0], [9.0, 1.0, 1.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    # The first picture has a rival caption, the second has two, and the third names no look.
    loss, right = look_loss(logits, [[2], [2, 3], []])
    expected = [
        -torch.tensor([2.0, 0.0]).log_softmax(0)[0],
        -torch.tensor([1.0, 1.0, 3.0]).log_softmax(0)[0],
    ]
    torch.testing.assert_close(loss, torch.stack(expected).mean())
    assert right == 0.5
    nothing, unknown = look_loss(logits, [[], [], []])
    assert nothing == 0
    assert np.isnan(unknown)


def test_no_process_outlives_a_killed_training(tmp_path):
    """Those that make pictures for it."""
    words = [sys.executable, "-m", "genrender", "train", "pocket", "--work-dir", str(tmp_path)]
    training = psutil.Popen([*words, "--stage", "data", "--shards", "4"], stderr=subprocess.DEVNULL)
    try:
        while not (others := training.children(recursive=True)):
            assert training.poll() is None
            time.sleep(0.05)
    finally:
        training.kill()
        training.wait()
    _, alive = psutil.wait_procs(others, timeout=60)
    for process in alive:
        process.kill()
    assert not alive

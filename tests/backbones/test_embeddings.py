"""Textual inversions: words of one or several vectors, for one or two text encoders."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from pipelines import HEIGHT, WIDTH
from safetensors.torch import save_file
from test_sdxl import sampled
from tiny_models import TEXT_WIDTH, sliding_card, tiny_pipeline
from tiny_sdxl import sdxl_pipeline

from genrender.backbones import adapters
from genrender.backbones.embeddings import read_embedding, with_all_vectors
from genrender.backbones.recipe import Recipe
from genrender.config import PER_FRAME
from genrender.errors import ModelError

CLIP = sliding_card(2, HEIGHT, WIDTH)


def taught(pipe, *files: Path, **recipe):
    adapters.apply(pipe, adapters.read(Recipe(embeddings=tuple(map(str, files)), **recipe)))
    return pipe


def saved(path: Path, **tensors: torch.Tensor) -> Path:
    save_file(tensors, path)
    return path


def frames(pipe, prompt: str) -> np.ndarray:
    return pipe(prompt, CLIP, config=PER_FRAME, num_inference_steps=2, seed=1).frames


def test_the_word_is_the_files_name_and_reads_its_vectors(tmp_path):
    vectors = torch.randn(2, TEXT_WIDTH)
    pipe = taught(tiny_pipeline(), saved(tmp_path / "inkwash.safetensors", emb_params=vectors))
    reference = tiny_pipeline()
    reference.load_textual_inversion(vectors, token="inkwash")
    found = frames(pipe, "a fox, inkwash")
    np.testing.assert_allclose(found, frames(reference, "a fox, inkwash"), atol=1e-6)
    assert np.abs(found - frames(tiny_pipeline(), "a fox, inkwash")).max() > 1e-3
    assert np.array_equal(frames(pipe, "a fox"), frames(tiny_pipeline(), "a fox"))
    tokens = pipe.tokenizer.convert_tokens_to_ids(["inkwash", "inkwash_1"])
    assert torch.equal(pipe.text_encoder.get_input_embeddings().weight[tokens], vectors)


@pytest.mark.parametrize("word", ["EasyNegative", "bad-Hands-5", "My Ink"])
def test_capital_letters_lose_no_vector(tmp_path, word):
    """As the same vectors under a plain name, in either spelling."""
    vectors = torch.randn(3, TEXT_WIDTH)
    pipe = taught(tiny_pipeline(), saved(tmp_path / f"{word}.safetensors", emb_params=vectors))
    plain = taught(tiny_pipeline(), saved(tmp_path / "inkwash.safetensors", emb_params=vectors))
    expected = frames(plain, "a fox, inkwash")
    first = taught(tiny_pipeline(), saved(tmp_path / "first.safetensors", emb_params=vectors[:1]))
    assert np.abs(frames(first, "a fox, first") - expected).max() > 1e-3
    for spelled in (word, word.lower()):
        np.testing.assert_allclose(frames(pipe, f"a fox, {spelled}"), expected, atol=1e-6)


def test_of_two_words_that_begin_alike_the_longer_is_meant(tmp_path):
    files = [
        saved(tmp_path / f"{name}.safetensors", emb_params=torch.randn(2, TEXT_WIDTH))
        for name in ("Bad", "bad-hands")
    ]
    tokenizer = taught(tiny_pipeline(), *files).tokenizer
    found = with_all_vectors("a fox, bad, Bad-hands", tokenizer)
    assert found == "a fox, Bad Bad_1, bad-hands bad-hands_1"
    assert with_all_vectors("a fox", tokenizer) == "a fox"


def test_files_of_diffusers_say_what_their_word_is(tmp_path):
    file = saved(tmp_path / "learned_embeds.safetensors", **{"<toy>": torch.randn(TEXT_WIDTH)})
    embedding = read_embedding(str(tmp_path))  # the folder that diffusers saves it in
    assert (embedding.path, embedding.word, embedding.n_tokens) == (file, "<toy>", 1)
    pipe = taught(tiny_pipeline(), tmp_path)
    assert np.abs(frames(pipe, "a <toy> fox") - frames(tiny_pipeline(), "a <toy> fox")).max() > 1e-3


def test_which_words_are_new_is_told(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("genrender.backbones.adapters"), "propagate", True, raising=False)
    file = saved(tmp_path / "inkwash.safetensors", emb_params=torch.randn(1, TEXT_WIDTH))
    with caplog.at_level(logging.WARNING):
        taught(tiny_pipeline(), file)
    assert "prompts may use these words besides: inkwash (inkwash.safetensors)" in caplog.text


def test_pickles_of_web_interfaces_are_read_when_they_are_allowed(tmp_path):
    vectors = torch.randn(3, TEXT_WIDTH)
    torch.save({"string_to_param": {"*": vectors}, "name": "other"}, tmp_path / "style.pt")
    with pytest.raises(ModelError, match=r"embedding .*style\.pt: it lies in a pickle"):
        read_embedding(str(tmp_path / "style.pt"))
    embedding = read_embedding(str(tmp_path / "style.pt"), allow_pickle=True)
    assert (embedding.word, embedding.n_tokens) == ("style", 3)
    assert torch.equal(embedding.vectors[0], vectors)


@pytest.mark.parametrize("names", [("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1")])
def test_sdxl_has_vectors_for_both_its_encoders(tmp_path, names):
    first, second = torch.randn(2, 2, TEXT_WIDTH)
    pipe = taught(
        sdxl_pipeline(), saved(tmp_path / "style.safetensors", **{names[0]: first, names[1]: second})
    )
    reference = sdxl_pipeline()
    for vectors, number in ((first, ""), (second, "_2")):
        reference.load_textual_inversion(
            vectors,
            token="style",
            tokenizer=getattr(reference, f"tokenizer{number}"),
            text_encoder=getattr(reference, f"text_encoder{number}"),
        )
    found = sampled(pipe, PER_FRAME, prompt="a fox, style")
    torch.testing.assert_close(found, sampled(reference, PER_FRAME, prompt="a fox, style"))
    assert (found - sampled(sdxl_pipeline(), PER_FRAME, prompt="a fox, style")).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"emb_params": torch.ones(1, 24)},
            "24 channels where the model's text has 16: .*another kind",
        ),
        ({"clip_l": torch.ones(1, 16), "clip_g": torch.ones(1, 16)}, "16 and 16 channels where .* has 16"),
        (
            {"a": torch.ones(1), "b": torch.ones(1)},
            "it holds 2 tensors, such as a, expected one word's vectors, or clip_l",
        ),
        ({"emb_params": torch.ones(2, 2, 16)}, r"its tensor is \[2, 2, 16\], expected vectors"),
        ({"emb_params": torch.ones(0, 16)}, r"its tensor is \[0, 16\], expected vectors"),
        ({"emb_params": torch.tensor(1.0)}, r"its tensor is \[\], expected vectors"),
        ({"fox</w>": torch.ones(1, 16)}, "its word 'fox</w>' is taken: rename the file"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, tensors, message):
    with pytest.raises(ModelError, match=message):
        taught(tiny_pipeline(), saved(tmp_path / "x.safetensors", **tensors))


def test_two_files_of_one_word_are_refused_and_nothing_is_taught(tmp_path):
    files = []
    for folder in "ab":
        (tmp_path / folder).mkdir()
        files.append(saved(tmp_path / folder / "style.safetensors", emb_params=torch.ones(1, TEXT_WIDTH)))
    pipe = tiny_pipeline()
    with pytest.raises(ModelError, match="its word 'style' is taken"):
        taught(pipe, *files)
    assert "style" not in pipe.tokenizer.get_vocab()

"""What frames read: as diffusers does without weights, as compel does with them, as asked for over time."""

import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from compel import Compel, SplitLongTextMode
from diffusers import StableDiffusionControlNetPipeline
from tiny_models import MAX_TOKENS, TEXT_WIDTH, tiny_pipeline, tiny_text_encoder
from tiny_sdxl import sdxl_pipeline
from torch import Tensor
from transformers import CLIPTextModel

from genrender.backbones.families import backbone_of
from genrender.backbones.protocol import Conditions
from genrender.backbones.text import ClipTexts
from genrender.errors import ConfigError
from genrender.pipeline import load_pipeline

CPU = torch.device("cpu")
PROMPT, NEGATIVE = "a red fox, sitting", "blurry"
# The tiny tokenizer spells every word out, but for `fox`; 30 tokens make a chunk.
LONG = "a very red fox in the garden, by the old house on a hill"


def sd2_pipeline() -> StableDiffusionControlNetPipeline:
    """Stable Diffusion 2's text encoder: OpenCLIP's, without its last layer, and padded by another token."""
    config = tiny_text_encoder().config.to_dict() | {"hidden_act": "gelu", "num_hidden_layers": 3}
    torch.manual_seed(1)
    pipe = tiny_pipeline()
    pipe.text_encoder = CLIPTextModel(type(pipe.text_encoder.config)(**config)).eval()
    pipe.tokenizer.pad_token = "."
    return pipe


MODELS = {"SD1": tiny_pipeline, "SD2": sd2_pipeline, "SDXL": sdxl_pipeline}


@pytest.fixture(scope="module", params=MODELS)
def pipe(request) -> Any:
    return MODELS[request.param]()


def texts_of(pipe: Any, prompt: str | None = PROMPT, **conditions: Any) -> ClipTexts:
    return backbone_of(pipe).texts(Conditions(prompt, **conditions))


def encoded(pipe: Any, prompt: str, negative: str | None = None, **settings: Any) -> Sequence[Tensor]:
    """Prompt, negative prompt and, for SDXL, both pooled: as diffusers encodes them."""
    with torch.no_grad():
        return pipe.encode_prompt(
            prompt,
            device=CPU,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=negative,
            **settings,
        )


def of_tokens(pipe: Any, ids: list[int], clip_skip: int = 0) -> Tensor:
    """A chunk's features, by transformers' models alone."""
    networks = [pipe.text_encoder, *([pipe.text_encoder_2] if hasattr(pipe, "text_encoder_2") else [])]
    pad = pipe.tokenizer.pad_token_id
    chunk = torch.tensor([ids + [pad] * (MAX_TOKENS - len(ids))])
    with torch.no_grad():
        states = [network(chunk, output_hidden_states=True).hidden_states for network in networks]
    if len(networks) == 2:
        return torch.cat([each[-2 - clip_skip] for each in states], dim=-1)
    return pipe.text_encoder.final_layer_norm(states[0][-1 - clip_skip])


# ---------------------------------------------------------------------------------- without weights


@pytest.mark.parametrize("negative", [NEGATIVE, None, ""])
@pytest.mark.parametrize("prompt", [PROMPT, "", r"a fox \(red\)"])
def test_plain_prompts_are_what_diffusers_encodes_to_the_bit(pipe, prompt, negative):
    expected = encoded(pipe, prompt.replace("\\", ""), negative)
    texts = texts_of(pipe, prompt, negative_prompt=negative)
    found = [texts.prompts, texts.negative, texts.pooled, texts.negative_pooled]
    assert len(expected) == (4 if texts.pooled is not None else 2)
    for ours, theirs in zip(found, expected, strict=False):
        assert torch.equal(ours, theirs)
    if hasattr(pipe, "text_encoder_2"):
        assert bool(texts.negative.any()) == (negative is not None)  # SDXL reads zeros then
    assert texts.rows([3, 7])[0].shape == (4, MAX_TOKENS, texts.prompts.shape[-1])


def test_masks_of_padding_are_shown_to_text_encoders_that_ask_for_them():
    plain, pipe = tiny_pipeline(), tiny_pipeline()
    pipe.text_encoder.config.use_attention_mask = True
    assert torch.equal(texts_of(pipe).prompts, encoded(pipe, PROMPT)[0])
    assert not torch.equal(texts_of(pipe).prompts, texts_of(plain).prompts)
    # Chunks that are full have no padding.
    ids = pipe.tokenizer("a " * 40).input_ids[1:31]
    full = of_tokens(plain, [pipe.tokenizer.bos_token_id, *ids, pipe.tokenizer.eos_token_id])
    assert torch.equal(texts_of(pipe, "a " * 60).prompts, torch.cat([full, full], dim=1))


def test_without_guidance_there_is_no_negative_text(pipe):
    texts = texts_of(pipe, guidance_scale=1.0)
    assert (texts.n_branches, texts.negative) == (1, None)
    assert len(texts.rows([0, 1])[0]) == 2


# ---------------------------------------------------------------------------------- skipped layers


@pytest.mark.parametrize("clip_skip", [0, 1])
def test_skipped_layers_are_those_of_diffusers_formula(clip_skip):
    """By hand: diffusers' own fails with Stable Diffusion's text encoders of transformers 5.6 and later."""
    pipe = sd2_pipeline()
    expected = of_tokens(pipe, pipe.tokenizer(PROMPT).input_ids, clip_skip)
    texts = texts_of(pipe, negative_prompt=NEGATIVE, clip_skip=clip_skip)
    assert torch.equal(texts.prompts, expected)
    assert torch.equal(texts.prompts, texts_of(pipe).prompts) == (clip_skip == 0)
    # diffusers skips layers for the prompt only.
    assert torch.equal(texts.negative, encoded(pipe, PROMPT, NEGATIVE)[1])
    # Longer and weighted texts, and those of objects, come from the same layer.
    long = texts_of(pipe, f"({LONG})", clip_skip=clip_skip, object_prompts={1: PROMPT})
    assert torch.equal(long.objects[:, :MAX_TOKENS], expected)
    assert torch.equal(long.prompts, texts_of(pipe, f"({LONG})").prompts) == (clip_skip == 0)


def test_skipped_layers_of_sdxl_are_those_of_diffusers():
    pipe = sdxl_pipeline()
    expected = encoded(pipe, PROMPT, NEGATIVE, clip_skip=0)
    texts = texts_of(pipe, negative_prompt=NEGATIVE, clip_skip=0)
    for ours, theirs in zip((texts.prompts, texts.negative, texts.pooled), expected, strict=False):
        assert torch.equal(ours, theirs)
    deeper = sdxl_pipeline(n_text_layers=3)
    expected, without = (encoded(deeper, PROMPT, NEGATIVE, clip_skip=skip) for skip in (1, None))
    texts = texts_of(deeper, negative_prompt=NEGATIVE, clip_skip=1)
    found = (texts.prompts, texts.negative, texts.pooled, texts.negative_pooled)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(expected[0], without[0])


@pytest.mark.parametrize("clip_skip", [-1, 2])
def test_more_layers_than_there_are_cannot_be_skipped(clip_skip):
    with pytest.raises(ConfigError, match=f"clip_skip is {clip_skip}, expected 0 to 1 for this model"):
        texts_of(tiny_pipeline(), clip_skip=clip_skip)


# ---------------------------------------------------------------------------------- weights, length


@pytest.mark.parametrize(
    ("ours", "compels"),
    [
        ("a (red:1.5) fox", "a (red)1.5 fox"),
        ("a (red:0.5) fox", "a (red)0.5 fox"),
        ("((a red)) fox", "(a red)1.21 fox"),
        (f"{LONG} (sea:1.3)", f"{LONG} (sea)1.3"),
    ],
)
def test_weights_are_what_compel_makes_of_them(ours, compels):
    pipe = tiny_pipeline()
    library = Compel(
        pipe.tokenizer,
        pipe.text_encoder,
        truncate_long_prompts=False,
        split_long_text_mode=SplitLongTextMode.WORDS,
    )
    found = texts_of(pipe, ours).prompts
    torch.testing.assert_close(found, library(compels), atol=1e-5, rtol=0)
    plain = texts_of(pipe, ours.replace("(", "").split(":")[0]).prompts
    assert found.shape != plain.shape or (found - plain).abs().max() > 0.1


def test_a_weight_moves_a_words_features_away_from_the_empty_texts(pipe):
    """By hand, for weights above 1: of the word's tokens, and of no others."""
    empty, plain = texts_of(pipe, "").prompts, texts_of(pipe, "a red fox").prompts
    found = texts_of(pipe, "a (red:1.5) fox").prompts
    is_red = torch.zeros(MAX_TOKENS, dtype=torch.bool)
    is_red[2:5] = True  # start, a, r, e, d</w>, fox
    expected = torch.where(is_red[:, None], empty + 1.5 * (plain - empty), plain)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - plain).abs().max() > 0.1


def test_pooled_text_is_that_of_the_words_without_their_weights():
    pipe = sdxl_pipeline()
    weighted, plain = (texts_of(pipe, text).pooled for text in ("a (red:1.5) fox", "a red fox"))
    assert torch.equal(weighted, plain)
    assert torch.equal(texts_of(pipe, LONG).pooled, encoded(pipe, LONG)[2])  # of what fits


def test_long_prompts_are_read_in_chunks_that_end_with_a_word(pipe):
    tokenizer = pipe.tokenizer
    ids = tokenizer(LONG, add_special_tokens=False).input_ids
    assert len(ids) > MAX_TOKENS
    words = tokenizer.convert_ids_to_tokens(ids)
    end = max(i for i in range(1, MAX_TOKENS - 1) if words[i - 1].endswith("</w>"))
    start, stop = [tokenizer.bos_token_id], [tokenizer.eos_token_id]
    expected = [of_tokens(pipe, start + chunk + stop) for chunk in (ids[:end], ids[end:])]
    texts = texts_of(pipe, LONG, negative_prompt=NEGATIVE, object_prompts={1: "a dog", 2: LONG})
    assert torch.equal(texts.prompts, torch.cat(expected, dim=1))
    # Shorter texts are filled up with empty ones, so that all have one length.
    for ours, text in ((texts.negative, NEGATIVE), (texts.objects[:1], "a dog")):
        short, empty = (texts_of(pipe, each).prompts for each in (text, ""))
        assert torch.equal(ours, torch.cat([short, empty], dim=1))
    assert torch.equal(texts.objects[1:], texts.prompts)


def test_pocket_reads_long_and_weighted_prompts_as_others_do():
    pipe = load_pipeline("pocket", device="cpu", dtype=torch.float32)
    words = "a red and white striped biped on a green background "
    assert torch.equal(texts_of(pipe, words).prompts, encoded(pipe, words)[0])
    short, long = (texts_of(pipe, words * 4 + end).prompts for end in ("fox", "(cube:1.5)"))
    assert short.shape == long.shape == (1, 2 * pipe.tokenizer.model_max_length, 128)
    assert torch.equal(short[:, :32], long[:, :32])
    assert (short - long).abs().max() > 0.1


def test_zeros_instead_of_a_negative_text_are_as_long_as_the_prompt():
    texts = texts_of(sdxl_pipeline(), LONG)
    assert texts.negative.shape == texts.prompts.shape
    assert not texts.negative.any()
    assert not texts.negative_pooled.any()


@pytest.mark.parametrize("family", ["SD1", "SDXL"])
def test_the_vectors_of_a_textual_inversion_are_read_in_weighted_and_in_long_prompts(family):
    pipe = MODELS[family]()
    own = [("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")][: 2 if family == "SDXL" else 1]
    for tokenizer, encoder in own:
        parts = {"tokenizer": pipe.components[tokenizer], "text_encoder": pipe.components[encoder]}
        vectors = torch.randn(3, TEXT_WIDTH, generator=torch.Generator().manual_seed(3))
        pipe.load_textual_inversion(vectors, token="<toy>", **parts)
    assert torch.equal(texts_of(pipe, "a <toy> fox").prompts, encoded(pipe, "a <toy> fox")[0])
    prompts = ("a (<toy>:1.4) fox", f"{LONG} <toy>")
    found = [texts_of(pipe, prompt).prompts for prompt in prompts]
    # Spelled out by hand, by names of single vectors.
    for number, name in enumerate(("<toy>", "<toy>_1", "<toy>_2")):
        for tokenizer, encoder in own:
            parts = {"tokenizer": pipe.components[tokenizer], "text_encoder": pipe.components[encoder]}
            ids = parts["tokenizer"].convert_tokens_to_ids(name)
            vector = parts["text_encoder"].get_input_embeddings().weight[ids].detach().clone()
            pipe.load_textual_inversion(vector, token=f"<{'abc'[number]}>", **parts)
    for prompt, ours in zip(prompts, found, strict=True):
        assert torch.equal(texts_of(pipe, prompt.replace("<toy>", "<a> <b> <c>")).prompts, ours)
        without = texts_of(pipe, prompt.replace("<toy>", "a")).prompts
        assert without.shape != ours.shape or (ours - without).abs().max() > 0.1


@pytest.mark.parametrize("prompt", ["a (red:1.5) fox", "a [red] fox", f"{LONG} (sea:1.3) [hill]"])
@pytest.mark.parametrize("family", ["SD1", "SDXL"])
def test_other_devices_read_what_the_cpu_reads(family, prompt, device):
    asked = {"negative_prompt": "(bad:0.5)", "prompts_at": ((3, LONG),), "clip_skip": 0}
    here = texts_of(MODELS[family](), prompt, **asked)
    there = texts_of(MODELS[family]().to(device), prompt, **asked)
    for ours, expected in zip(there.rows([0, 1, 3]), here.rows([0, 1, 3]), strict=True):
        assert (ours is None) == (expected is None)
        if ours is not None:
            assert ours.device.type == device.type
            torch.testing.assert_close(ours.cpu(), expected, atol=1e-4, rtol=0)


def test_without_compel_weights_are_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "compel.embeddings_provider", None)
    pipe = tiny_pipeline()
    texts_of(pipe)
    for prompt in (LONG, "a (red) fox"):
        with pytest.raises(ConfigError, match=r"more than 30 tokens need compel.*'genrender\[prompts\]'"):
            texts_of(pipe, prompt)

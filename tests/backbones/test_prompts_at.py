"""Whole runs: prompts over time, features instead of texts, LoRAs by scale, long prompts of objects."""

from typing import Any

import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline
from peft import LoraConfig
from tiny_adapters import IMAGE_WIDTH, add_lora, ip_layers, ip_projection
from tiny_models import TEXT_WIDTH, sliding_card, tiny_components
from tiny_sdxl import sdxl_pipeline
from torch import Tensor

from genrender.backbones.families import backbone_of
from genrender.backbones.protocol import Conditions
from genrender.backbones.text import ClipTexts
from genrender.config import PER_FRAME, InjectionConfig, MethodConfig
from genrender.errors import ConfigError
from genrender.gbuffer.control import depth_control
from genrender.sampling.loop import SamplingConfig, sample
from genrender.sampling.surface import ClipSurface

HEIGHT, WIDTH, N_FRAMES = 40, 56, 5
CLIP = sliding_card(N_FRAMES, HEIGHT, WIDTH)
FULL = MethodConfig(injection=InjectionConfig(alpha=0.5, n_keyframes=2))
PROMPT, NEGATIVE = "a red fox", "blurry"
LATER = ((4, "a blue dog"), (2, "a (green:1.4) cat"))
LONG = "a very red fox in the garden, by the old house on a hill"
LATENTS = torch.randn(N_FRAMES, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(5))


def sd_pipeline() -> StableDiffusionControlNetPipeline:
    pipe = StableDiffusionControlNetPipeline(
        **tiny_components(), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


FAMILIES = {"SD": sd_pipeline, "SDXL": sdxl_pipeline}


@pytest.fixture(scope="module", params=FAMILIES)
def pipe(request) -> Any:
    return FAMILIES[request.param]()


def texts_of(pipe: Any, prompt: str | None = PROMPT, **conditions: Any) -> ClipTexts:
    return backbone_of(pipe).texts(Conditions(prompt, **conditions))


def ours(
    pipe: Any, prompt: str | None = PROMPT, method: MethodConfig = PER_FRAME, chunk: int = 8, **asked: Any
) -> Tensor:
    """Latents of a run; a negative prompt goes with it unless its features are given."""
    backbone = backbone_of(pipe)
    surface = ClipSurface(CLIP, backbone.vae_factor, method, 0, backbone.device)
    negative = None if "negative_prompt_embeds" in asked else NEGATIVE
    conditions = Conditions(prompt, negative, **({"guidance_scale": 3.0} | asked))
    return sample(
        backbone, conditions, surface, method, SamplingConfig(2, chunk_size=chunk, latents=LATENTS)
    )[range(N_FRAMES)]


def diffusers_frame(pipe: Any, frame: int, **asked: Any) -> Tensor:
    image = torch.from_numpy(depth_control(CLIP))[:, None].repeat(1, 3, 1, 1)[[frame]]
    settings = {"guidance_scale": 3.0, "num_inference_steps": 2, "output_type": "latent"} | asked
    return pipe(image=image, latents=LATENTS[[frame]], **settings).images


def features(texts: ClipTexts, prompt: Tensor, pooled: Tensor | None) -> dict[str, Tensor]:
    """Arguments of diffusers' pipelines, and of `Conditions`."""
    found = {"prompt_embeds": prompt, "negative_prompt_embeds": texts.negative}
    if pooled is not None:
        found |= {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": texts.negative_pooled}
    return found


# ---------------------------------------------------------------------------------- over time


def test_texts_are_blended_between_their_frames_and_constant_after_the_last(pipe):
    texts = texts_of(pipe, prompts_at=LATER)
    keys = [texts_of(pipe, text) for text in (PROMPT, LATER[1][1], LATER[0][1])]
    rows, pooled = texts.rows(range(7))
    for found, name in ((rows[7:], "prompts"), (None if pooled is None else pooled[7:], "pooled")):
        first, second, third = (getattr(each, name) for each in keys)
        if found is None:
            assert first is None
            continue
        expected = [first, (first + second) / 2, second, (second + third) / 2, third, third, third]
        torch.testing.assert_close(found, torch.cat(expected), atol=1e-6, rtol=0)
        for frame, key in ((0, first), (2, second), (4, third)):
            assert torch.equal(found[[frame]], key)  # without rounding
    assert torch.equal(rows[:7], texts.negative.expand(7, -1, -1))
    # Any frames in any order are the same frames.
    assert torch.equal(texts.rows([5, 1])[0], rows[[5, 1, 12, 8]])


def test_each_frame_reads_its_own_text_as_diffusers_paints_it(pipe):
    texts = texts_of(pipe, prompts_at=LATER, negative_prompt=NEGATIVE)
    found, plain = ours(pipe, prompts_at=LATER), ours(pipe)
    rows, pooled = texts.rows(range(N_FRAMES))
    for frame in range(N_FRAMES):
        row = slice(N_FRAMES + frame, N_FRAMES + frame + 1)
        read = features(texts, rows[row], None if pooled is None else pooled[row])
        expected = diffusers_frame(pipe, frame, **read)
        assert (found[[frame]] - expected).abs().max() <= 1e-4
        assert ((found[frame] - plain[frame]).abs().max() > 1e-3) == (frame > 0)


def test_runs_with_injections_are_the_same_in_any_chunks(pipe):
    asked = {"method": FULL, "prompts_at": LATER, "object_prompts": {1: "a brown house"}}
    runs = [ours(pipe, chunk=chunk, **asked) for chunk in (1, 2, 8)]
    for other in runs[1:]:
        torch.testing.assert_close(other, runs[0], atol=1e-4, rtol=0)
    assert (ours(pipe, method=FULL) - runs[0]).abs().max() > 1e-2
    # Keyframes, too, read the text of their own frame.
    everything = MethodConfig(injection=InjectionConfig(alpha=0.5, n_keyframes=N_FRAMES))
    changed = ours(pipe, **(asked | {"method": everything})) - ours(pipe, method=everything)
    assert (changed.abs().amax((1, 2, 3)) > 1e-3).all()


def test_texts_of_objects_stay_while_the_prompt_changes(pipe):
    own = texts_of(pipe, object_prompts={1: "a dog"}).objects
    assert torch.equal(texts_of(pipe, prompts_at=LATER, object_prompts={1: "a dog"}).objects, own)


@pytest.mark.parametrize("frames", [(0,), (-1,), (3, 3)])
def test_frames_of_prompts_start_at_1_and_are_different(frames):
    prompts_at = tuple((frame, "a dog") for frame in frames)
    with pytest.raises(ConfigError, match=r"expected different frames from 1 on; frame 0 shows the prompt"):
        texts_of(sd_pipeline(), prompts_at=prompts_at)


# ---------------------------------------------------------------------------------- features


def test_features_instead_of_texts_give_the_same_frames(pipe):
    texts = texts_of(pipe, negative_prompt=NEGATIVE)
    read = features(texts, texts.prompts, texts.pooled)
    assert torch.equal(ours(pipe, None, **read), ours(pipe))
    # Beside longer texts they are filled up, as texts are.
    filled = texts_of(pipe, None, object_prompts={1: LONG}, **read)
    assert torch.equal(filled.prompts, texts_of(pipe, object_prompts={1: LONG}).prompts)


def test_a_pipeline_without_text_encoders_takes_features_only(pipe):
    texts = texts_of(pipe, negative_prompt=NEGATIVE)
    read = features(texts, texts.prompts, texts.pooled)
    expected = ours(pipe)
    own = {name: pipe.components[name] for name in ("text_encoder", "text_encoder_2") if hasattr(pipe, name)}
    pipe.register_modules(**dict.fromkeys(own))
    try:
        assert torch.equal(ours(pipe, None, **read), expected)
        with pytest.raises(ConfigError, match="without a text encoder: give prompt_embeds, or load one"):
            texts_of(pipe)
    finally:
        pipe.register_modules(**own)


EMBEDS = torch.zeros(1, 32, TEXT_WIDTH)
POOLED = torch.zeros(1, TEXT_WIDTH)


@pytest.mark.parametrize(
    ("family", "asked", "message"),
    [
        ("SD", {}, "there is no prompt, expected a text, or its features as prompt_embeds"),
        ("SD", {"prompt": "a", "prompt_embeds": EMBEDS}, "prompt and prompt_embeds are both given"),
        ("SD", {"prompt_embeds": EMBEDS[0]}, r"prompt_embeds of shape \(32, 16\), expected \(1, tokens"),
        ("SD", {"prompt_embeds": EMBEDS, "pooled_prompt_embeds": POOLED}, "for models of two text encoders"),
        ("SDXL", {"prompt_embeds": EMBEDS}, "pooled_prompt_embeds is missing, expected with prompt_embeds"),
        (
            "SD",
            {"prompt": "a", "negative_prompt": "b", "negative_prompt_embeds": EMBEDS},
            "negative_prompt and negative_prompt_embeds are both given",
        ),
        (
            "SD",
            {"prompt_embeds": EMBEDS[:, :20]},
            "text features for 20 tokens beside others for 32, expected the same number, or one that differs",
        ),
    ],
)
def test_features_that_contradict_something_are_refused(family, asked, message):
    with pytest.raises(ConfigError, match=message):
        texts_of(FAMILIES[family](), **({"prompt": None} | asked))


# ---------------------------------------------------------------------------------- objects, LoRAs, placement


@pytest.mark.parametrize("method", [PER_FRAME, FULL], ids=["per frame", "injections"])
def test_the_end_of_a_long_prompt_of_an_object_counts(pipe, method):
    one, same, other = (
        ours(pipe, method=method, object_prompts={1: f"{LONG}, {end}"}) for end in ("red", "red", "(red:1.4)")
    )
    assert torch.equal(one, same)
    assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_long_and_weighted_prompts_of_objects_go_with_an_ip_adapter(family):
    """An object that reads what the clip reads changes nothing, whatever it reads beside it."""
    pipe = FAMILIES[family]()
    layers = {"image_proj": ip_projection(pipe.unet, "plain"), "ip_adapter": ip_layers(pipe.unet)}
    pipe.unet._load_ip_adapter_weights([layers])
    pictures = torch.randn(2, 2, 1, IMAGE_WIDTH, generator=torch.Generator().manual_seed(4))
    text = f"{LONG} by the (sea:1.3)"
    for method in (PER_FRAME, FULL):
        runs = [
            ours(pipe, text, method, image_prompt_embeds=[picture], object_prompts=own)
            for picture, own in (
                (pictures[0], {}),
                (pictures[0], {1: text}),
                (pictures[0], {1: f"{LONG} by the (hill:1.3)"}),
                (pictures[1], {1: text}),
            )
        ]
        torch.testing.assert_close(runs[1], runs[0], atol=1e-4, rtol=0)
        for other in runs[2:]:
            assert (other - runs[0]).abs().max() > 1e-3


def with_loras(pipe: Any) -> Any:
    """Random LoRAs in the UNet and in every text encoder."""
    for network, layers in (
        (pipe.unet, ["to_q", "to_v"]),
        (pipe.text_encoder, ["q_proj", "v_proj"]),
        (getattr(pipe, "text_encoder_2", None), ["q_proj", "v_proj"]),
    ):
        if network is not None:
            lora = LoraConfig(r=2, lora_alpha=8, target_modules=layers, init_lora_weights=False)
            add_lora(network, lora)
    return pipe


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scale_of_loras_counts_in_unet_and_text_encoders_as_in_diffusers(family):
    pipe = with_loras(FAMILIES[family]())
    runs = {}
    for scale in (1.0, 0.4, 0.0):
        kwargs = {"scale": scale}
        runs[scale] = ours(pipe, cross_attention_kwargs=kwargs)
        expected = diffusers_frame(
            pipe, 1, prompt=PROMPT, negative_prompt=NEGATIVE, cross_attention_kwargs=kwargs
        )
        assert (runs[scale][[1]] - expected).abs().max() <= 1e-4
    assert torch.equal(runs[1.0], ours(pipe))  # what was scaled is put back
    assert (runs[1.0] - runs[0.4]).abs().max() > 1e-3
    assert (runs[0.4] - runs[0.0]).abs().max() > 1e-3
    assert (texts_of(pipe).prompts - texts_of(pipe, cross_attention_kwargs=kwargs).prompts).abs().max() > 1e-2
    # In injected layers as well.
    weak, strong = (ours(pipe, method=FULL, cross_attention_kwargs={"scale": s}) for s in (0.4, 1.0))
    assert (weak - strong).abs().max() > 1e-3


def test_texts_are_read_once_before_the_unet_is_asked(pipe):
    """So text encoders that are offloaded while they wait do so for the whole run."""
    calls: list[str] = []
    names = [name for name in ("text_encoder", "text_encoder_2", "unet") if hasattr(pipe, name)]
    hooks = [
        pipe.components[name].register_forward_pre_hook(lambda *_, name=name: calls.append(name))
        for name in names
    ]
    ours(pipe, chunk=2, method=FULL, prompts_at=((4, "a dog"),), object_prompts={1: "a cat"})
    for hook in hooks:
        hook.remove()
    n_encoders = len(names) - 1
    # The prompt, the one at frame 4, the object's and the negative one.
    assert calls.index("unet") == 4 * n_encoders
    assert set(calls[calls.index("unet") :]) == {"unet"}

"""Motion modules through the same loop: equal to diffusers' AnimateDiff pipeline with all injections off."""

from pathlib import Path

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from PIL import Image
from tiny_adapters import (
    UNET_LAYERS,
    kohya_names,
    lora,
    made,
    save_ip_adapter,
    save_kohya,
    tiny_image_encoder,
)
from tiny_models import sliding_card, tiny_pipeline
from tiny_motion import WINDOW, motion_pipeline

from genrender.backbones import adapters
from genrender.backbones.animatediff import AnimateDiff
from genrender.backbones.attention_sites import is_temporal, self_attention_layers
from genrender.backbones.families import backbone_of
from genrender.backbones.object_prompts import cross_attention_layers
from genrender.backbones.protocol import Backbone, Conditions, Denoiser
from genrender.backbones.recipe import Control, ImagePrompt, Lora, Recipe
from genrender.config import PER_FRAME, InjectionConfig, LatentConfig, MethodConfig
from genrender.errors import ConfigError
from genrender.gbuffer.control import depth_control
from genrender.sampling.loop import Hooks, SamplingConfig, decode_frames, sample
from genrender.sampling.store import RunStore
from genrender.sampling.surface import ClipSurface

HEIGHT, WIDTH = 40, 56
LONG = sliding_card(14, HEIGHT, WIDTH)  # two windows
CLIP = LONG[:6]
FULL = MethodConfig(injection=InjectionConfig(alpha=0.5, n_keyframes=2))


@pytest.fixture(scope="module")
def pipeline():
    return motion_pipeline()


def noise(n_frames: int) -> torch.Tensor:
    shape = (n_frames, 4, HEIGHT // 8, WIDTH // 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def sampled(pipeline, method=PER_FRAME, clip=CLIP, chunk_size=3, store=None, hooks=None, **conditions):
    backbone = backbone_of(pipeline)
    surface = ClipSurface(clip, backbone.vae_factor, method, 0, backbone.device)
    asked = Conditions(**({"prompt": "a red fox", "negative_prompt": "blurry"} | conditions))
    sampling = SamplingConfig(3, chunk_size=chunk_size, latents=noise(len(clip)))
    return sample(backbone, asked, surface, method, sampling, store, hooks)[range(len(clip))]


def diffusers_clip(pipeline, latents, output_type="latent", **arguments):
    pictures = [Image.fromarray((depth * 255).astype("uint8")) for depth in depth_control(CLIP)]
    return pipeline(
        "a red fox",
        negative_prompt="blurry",
        conditioning_frames=[picture.convert("RGB") for picture in pictures],
        num_frames=len(CLIP),
        height=HEIGHT,
        width=WIDTH,
        latents=latents.transpose(0, 1)[None],
        num_inference_steps=3,
        output_type=output_type,
        **arguments,
    ).frames


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
@pytest.mark.parametrize("scheduler", ["DDIM", "Euler"])
def test_with_every_injection_off_latents_and_frames_equal_diffusers(
    pipeline, guidance_scale, scheduler, monkeypatch
):
    if scheduler == "Euler":
        euler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
        monkeypatch.setattr(pipeline, "scheduler", euler)
    # Both see depth in 8 bits, as diffusers takes it.
    monkeypatch.setattr(ClipSurface, "_control_images", _eight_bits(ClipSurface._control_images))
    arguments = {"guidance_scale": guidance_scale, "controlnet_conditioning_scale": 0.8}
    expected = diffusers_clip(pipeline, noise(len(CLIP)), **arguments)[0].transpose(0, 1)
    result = sampled(pipeline, guidance_scale=guidance_scale, controls=(Control(scale=0.8),))
    assert (result - expected).abs().max() <= 1e-4
    assert expected.std() > 0.1
    frames = diffusers_clip(pipeline, noise(len(CLIP)), "np", **arguments)[0]
    for picture, shown in zip(decode_frames(backbone_of(pipeline), result), frames, strict=True):
        torch.testing.assert_close(torch.from_numpy(picture), torch.from_numpy(shown), atol=1e-4, rtol=0)


def _eight_bits(depth):
    return lambda surface, frames, kind: (depth(surface, frames, kind) * 255).floor() / 255


@pytest.fixture
def with_adapters(tmp_path):
    """A pipeline with an IP-Adapter and a LoRA that were made for the image model."""
    torch.manual_seed(11)
    image_model = tiny_pipeline()
    save_ip_adapter(tmp_path / "ip.safetensors", image_model.unet)
    tiny_image_encoder().save_pretrained(tmp_path / "image_encoder")
    style = save_kohya(tmp_path / "lora.safetensors", made(image_model, kohya_names(UNET_LAYERS, []), lora))
    pipe = motion_pipeline()
    recipe = Recipe(
        loras=(Lora(str(style), 0.5),),
        image_prompts=(ImagePrompt(str(tmp_path / "ip.safetensors"), (), 0.6),),
    )
    adapters.apply(pipe, adapters.read(recipe))
    return pipe


def test_adapters_of_the_image_model_reach_every_frame_as_in_diffusers(with_adapters, monkeypatch):
    monkeypatch.setattr(ClipSurface, "_control_images", _eight_bits(ClipSurface._control_images))
    picture = Image.linear_gradient("L").convert("RGB")
    result = sampled(with_adapters, image_prompt=picture)
    asked = {"ip_adapter_image": picture, "guidance_scale": 7.5}
    expected = diffusers_clip(with_adapters, noise(len(CLIP)), **asked)[0].transpose(0, 1)
    assert (result - expected).abs().max() <= 1e-4
    with_adapters.set_ip_adapter_scale(0.0)
    without_picture = sampled(with_adapters, image_prompt=picture)
    assert (result - without_picture).abs().max() > 1e-3
    with_adapters.disable_lora()
    assert (without_picture - sampled(with_adapters, image_prompt=picture)).abs().max() > 1e-3


def test_frames_see_each_other_through_motion_modules(pipeline):
    """The test above would mean little if they did not."""
    changed = noise(len(CLIP))
    changed[-1] += 1
    first, second = (
        diffusers_clip(pipeline, latents, guidance_scale=1.0)[0].transpose(0, 1)
        for latents in (noise(len(CLIP)), changed)
    )
    assert (first[0] - second[0]).abs().max() > 1e-2


MECHANISMS = {
    "keys and values": MethodConfig(injection=InjectionConfig(alpha=0.0, n_keyframes=2)),
    "all keys and values": MethodConfig(
        injection=InjectionConfig(alpha=0.0, n_keyframes=2, deduplicate=False)
    ),
    "surface features": MethodConfig(injection=InjectionConfig(pre_attn=False, n_keyframes=2)),
    "low band": MethodConfig(injection=InjectionConfig(low_band=0.2, n_keyframes=2)),
    "latents": MethodConfig(
        injection=InjectionConfig(n_keyframes=2), latents=LatentConfig("objects", synchronise=0.5)
    ),
}


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_runs_and_changes_the_frames(pipeline, name):
    plain, result = sampled(pipeline), sampled(pipeline, MECHANISMS[name])
    assert result.isfinite().all()
    assert (result - plain).abs().max() > 1e-2


def test_prompts_of_objects_change_what_the_object_shows(pipeline):
    named = sampled(pipeline, object_prompts={1: "a blue duck"})
    assert (named - sampled(pipeline)).abs().max() > 1e-3


@pytest.mark.parametrize("method", [PER_FRAME, FULL])
def test_a_long_clip_does_not_depend_on_the_chunk_size(pipeline, method):
    assert len(LONG) > WINDOW
    first, second = (sampled(pipeline, method, LONG, chunk_size=size) for size in (2, 14))
    assert torch.equal(first, second)


def test_more_keyframes_than_the_adapter_knows_places_for_are_refused(pipeline):
    method = MethodConfig(injection=InjectionConfig(n_keyframes=WINDOW + 1))
    with pytest.raises(ConfigError, match=r"9 keyframes.*at most 8.*lower the number"):
        sampled(pipeline, method, LONG)


class _StopAfterOne(Hooks):
    def is_interrupted(self) -> bool:
        return True


class _Watch(Hooks):
    begun_at = -1

    def on_begin(self, step: int, n_steps: int, denoiser: Denoiser) -> None:  # noqa: ARG002
        self.begun_at = step


def test_a_long_clip_that_was_stopped_goes_on_to_the_same_bits(pipeline, tmp_path: Path):
    whole, watch = sampled(pipeline, FULL, LONG), _Watch()
    sampled(pipeline, FULL, LONG, store=RunStore(tmp_path), hooks=_StopAfterOne())
    assert torch.equal(sampled(pipeline, FULL, LONG, store=RunStore(tmp_path), hooks=watch), whole)
    assert watch.begun_at == 1


def test_temporal_layers_are_left_alone(pipeline):
    unet = pipeline.unet
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    temporal = [name for name in names if is_temporal(name)]
    # Two self-attentions in each of the two, one and four modules of encoder, middle and decoder.
    assert len(temporal) == 2 * (2 + 1 + 4)
    ours = [*self_attention_layers(unet), *cross_attention_layers(unet)]
    assert sorted(ours + temporal) == sorted(names)


def test_the_family_is_known(pipeline):
    backbone = backbone_of(pipeline)
    assert isinstance(backbone, AnimateDiff)
    assert isinstance(backbone, Backbone)
    denoiser = backbone.conditioned(Conditions("a fox"), lambda *_: torch.zeros(1, 5, 7), (5, 7))
    assert isinstance(denoiser, Denoiser)
    assert denoiser.window == WINDOW

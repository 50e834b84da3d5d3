"""Surface Injection with other samplers and patches, in parts of any size."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import comfy.hooks
import comfy.sd
import engine
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy.patcher_extension import WrappersMP
from diffusers import EulerAncestralDiscreteScheduler, HeunDiscreteScheduler
from engine_workflows import tiny_lora
from families import CFG, N_FRAMES, Family, injected, rendered, sampled, sigmas, steered

from genrender.config import OURS

METHOD = replace(OURS, injection=replace(OURS.injection, n_keyframes=3))


@pytest.mark.parametrize(
    ("model", "name", "kind"),
    [
        ("sd15", "euler_ancestral", EulerAncestralDiscreteScheduler),
        ("sdxl", "euler_ancestral", EulerAncestralDiscreteScheduler),
        ("sd15", "heun", HeunDiscreteScheduler),
    ],
)
def test_samplers_that_draw_noise_or_ask_twice_agree_with_ours(
    families: Callable[[str], Family], clip_and_depth: Any, model: str, name: str, kind: Any
) -> None:
    (clip, depth), family = clip_and_depth, families(model)
    pipe = family.pipeline()
    # At these steps diffusers asks at whole timesteps, as ComfyUI does.
    pipe.scheduler = kind.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    pipe.scheduler.set_timesteps(3)
    levels = pipe.scheduler.sigmas[:: pipe.scheduler.order] if name == "heun" else pipe.scheduler.sigmas
    levels = torch.cat([levels[levels > 0].unique().flip(0), torch.zeros(1)])
    noise, _, _ = engine.call("GenRenderSurfaceNoise", clip=clip, seed=3, mode="bridge")
    started = noise.generate_noise({"samples": torch.zeros(N_FRAMES, 4, 8, 8)})
    # ComfyUI begins with the noise over a signal of unit variance, diffusers with the noise alone.
    started = started * (1 + levels[0] ** 2) ** 0.5 / pipe.scheduler.init_noise_sigma
    ours = pipe(
        None,
        clip.clip.gbuffers,
        config=METHOD,
        seed=3,
        chunk_size=2,
        guidance_scale=CFG,
        num_inference_steps=3,
        latents=started,
        output_type="latent",
        **family.prompts(),
    ).latents
    theirs = sampled(
        family, injected(family.model, clip), clip, steered(family, depth), sampler=name, levels=levels
    )
    theirs = family.model.get_model_object("latent_format").process_in(theirs)
    assert (theirs - ours).abs().max() < 1e-3


@pytest.mark.parametrize("name", ["dpmpp_sde", "uni_pc", "lcm", "heunpp2"])
def test_any_sampler_runs(sd15: Family, clip_and_depth: Any, name: str) -> None:
    clip, _ = clip_and_depth
    with_us = sampled(sd15, injected(sd15.model, clip), clip, sampler=name)
    without = sampled(sd15, sd15.model, clip, sampler=name)
    assert with_us.isfinite().all()
    assert not torch.allclose(with_us, without, atol=0.05)


def test_plain_samplers_start_from_the_noise_as_a_latent(sd15: Family, clip_and_depth: Any) -> None:
    clip, _ = clip_and_depth
    levels = sigmas(sd15.model)
    _, _, latent = engine.call("GenRenderSurfaceNoise", clip=clip, seed=3, mode="bridge", model=sd15.model)
    positive, negative = sd15.texts()
    out, _ = engine.call(
        "SamplerCustom",
        model=injected(sd15.model, clip),
        add_noise=False,
        noise_seed=3,
        cfg=CFG,
        positive=positive,
        negative=negative,
        sampler=engine.call("KSamplerSelect", sampler_name="euler")[0],
        sigmas=levels,
        latent_image=latent,
    )
    expected = sampled(sd15, injected(sd15.model, clip), clip)
    assert torch.allclose(out["samples"], expected, atol=1e-3)


def regional(family: Family, depth: torch.Tensor) -> Any:
    """Three conditions: a text for the left half, one for the right, and what is not wanted."""
    positive, negative = steered(family, depth)
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1
    halves = [
        engine.call(
            "ConditioningSetMask", conditioning=text, mask=mask, strength=1.0, set_cond_area="default"
        )[0]
        for text, mask in ((positive, left), (family.text("blue snow"), 1 - left))
    ]
    return engine.call("ConditioningCombine", conditioning_1=halves[0], conditioning_2=halves[1])[0], negative


@pytest.mark.parametrize(("name", "texts"), [("sdxl", steered), ("sd15", regional)])
def test_parts_of_any_size_say_the_same(
    families: Callable[[str], Family],
    name: str,
    clip_and_depth: Any,
    texts: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (clip, depth), family = clip_and_depth, families(name)
    given = texts(family, depth)
    whole = sampled(family, injected(family.model, clip, chunk=N_FRAMES), clip, given)
    single = sampled(family, injected(family.model, clip, chunk=1), clip, given)
    assert torch.allclose(single, whole, atol=2e-3)
    # With little memory ComfyUI runs each condition by itself.
    monkeypatch.setattr(family.model.model, "memory_required", lambda *_, **__: 1e18)
    apart = sampled(family, injected(family.model, clip), clip, given)
    assert torch.allclose(apart, whole, atol=2e-3)


def test_other_patches_stay(sd15: Family, clip_and_depth: Any) -> None:
    clip, _ = clip_and_depth
    asked: list[int] = []

    def images(query: Any, key: Any, value: Any, options: Any) -> Any:
        """Cross-attention with a picture's tokens, which count more in every frame, as in IP-Adapters."""
        text = optimized_attention(query, key, value, options["n_heads"])
        frames, n_branches = options["ad_params"]["sub_idxs"], len(options["cond_or_uncond"])
        assert options["ad_params"]["full_length"] == N_FRAMES
        weight = torch.tensor([0.2 * frame for frame in frames]).repeat(n_branches)[:, None, None]
        return text + weight * optimized_attention(query, 2 * key, value.flip(1), options["n_heads"])

    class Counted:
        """Self-attention that tells what it was asked, and where it was moved to."""

        moved: ClassVar[list[Any]] = []

        def to(self, where: Any) -> "Counted":
            self.moved.append(where)
            return self

        def models(self) -> list[Any]:
            return [sd15.vae.patcher]

        def __call__(self, query: Any, key: Any, value: Any, options: Any) -> Any:
            asked.append(key.shape[1])
            return optimized_attention(query, key, value, options["n_heads"])

    plain = sampled(sd15, injected(sd15.model, clip), clip)
    before, after = sd15.model.clone(), injected(sd15.model, clip)
    for model in (before, after):
        model.set_model_attn2_replace(images, "output", 0)
    first, last = sampled(sd15, injected(before, clip), clip), sampled(sd15, after, clip)
    assert torch.equal(first, last)
    assert not torch.allclose(first, plain, atol=1e-3)
    single = sampled(sd15, injected(before, clip, chunk=1), clip)
    assert torch.allclose(first, single, atol=1e-3)

    replaced = sd15.model.clone()
    replaced.set_model_attn1_replace(Counted(), "output", 0)
    together = injected(replaced, clip)
    assert torch.allclose(sampled(sd15, together, clip), plain, atol=1e-3)
    assert set(together.model_patches_models()) == {sd15.vae.patcher}
    together.model_patches_to("cpu")
    assert Counted.moved[-1] == "cpu"
    assert len(set(asked)) > 1  # their own tokens and those of keyframes


def test_guidance_by_perturbed_attention_goes_along(sd15: Family, clip_and_depth: Any) -> None:
    clip, _ = clip_and_depth
    model = injected(sd15.model, clip)
    guided = engine.call("PerturbedAttentionGuidance", model=model, scale=2.0)[0]
    result = sampled(sd15, guided, clip)
    assert result.isfinite().all()
    assert not torch.allclose(result, sampled(sd15, model, clip), atol=1e-3)


def test_a_lora_counts(sd15: Family, clip_and_depth: Any) -> None:
    clip, depth = clip_and_depth
    lora = tiny_lora(sd15)
    model, _ = comfy.sd.load_lora_for_models(sd15.model, None, lora, 0.3, 0.0)
    theirs = sampled(sd15, injected(model, clip), clip, steered(sd15, depth))
    down, up, _ = lora.values()
    query = sd15.unet.up_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q
    own = query.weight.detach().clone()
    try:
        with torch.no_grad():
            query.weight += 0.3 * up @ down
        ours = sd15.pipeline()(
            None, clip.clip.gbuffers, config=METHOD, seed=3, chunk_size=2, guidance_scale=CFG,
            sigmas=sigmas(model).tolist(), output_type="latent", **sd15.prompts(),
        ).latents  # fmt: skip
    finally:
        with torch.no_grad():
            query.weight.copy_(own)
    theirs = model.get_model_object("latent_format").process_in(theirs)
    assert (theirs - ours).abs().max() < 1e-3


def test_a_lora_that_comes_with_the_texts_counts(sd15: Family, clip_and_depth: Any) -> None:
    """As a hook: ComfyUI changes the weights text by text."""
    clip, _ = clip_and_depth
    lora = tiny_lora(sd15)
    model, _ = comfy.sd.load_lora_for_models(sd15.model, None, lora, 0.3, 0.0)
    hook = comfy.hooks.create_hook_lora(lora, strength_model=0.3, strength_clip=0.0)
    hooked = [comfy.hooks.set_hooks_for_conditioning(text, hook) for text in sd15.texts()]
    by_hook = sampled(sd15, injected(sd15.model, clip), clip, hooked)
    assert torch.allclose(by_hook, sampled(sd15, injected(model, clip), clip), atol=1e-3)
    assert not torch.allclose(by_hook, sampled(sd15, injected(sd15.model, clip), clip), atol=1e-2)


def test_memory_does_not_grow_with_the_clip(sd15: Family) -> None:
    rows: list[int] = []

    def peak(n_frames: int) -> int:
        clip, depth = rendered(n_frames)
        model = injected(sd15.model, clip, chunk=4)
        model.add_wrapper(
            WrappersMP.APPLY_MODEL, lambda run, x, *a, **k: (rows.append(len(x)), run(x, *a, **k))[1]
        )
        texts = steered(sd15, depth)
        levels = sigmas(sd15.model)[[0, -1]]
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as seen:
            sampled(sd15, model, clip, texts, levels=levels)
        events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
        held, most = 0, 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            held += event.nbytes()
            most = max(most, held)
        return most

    short, long = peak(8), peak(64)
    assert max(rows) == 2 * 4
    latents = 4 * 8 * 8 * 4  # bytes of a frame
    # A few copies of the frames' latents are all that grows: 4 % of what 8 frames take, for 56 more.
    assert long - short < 56 * 8 * latents

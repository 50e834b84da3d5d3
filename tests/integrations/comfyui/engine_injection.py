"""Surface Injection in ComfyUI's own engine, against ComfyUI without it and against our pipeline."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from families import CFG, Family, injected, sampled, sigmas, steered

from genrender.config import OURS, MethodConfig

OFF = "injection.pre_attn=false"


def ours(family: Family, clip: Any, method: MethodConfig) -> torch.Tensor:
    """What our pipeline makes of the same weights, noise and sampler."""
    return family.pipeline()(
        None,
        clip.clip.gbuffers,
        config=method,
        seed=3,
        chunk_size=2,
        guidance_scale=CFG,
        sigmas=sigmas(family.model).tolist(),
        output_type="latent",
        **family.prompts(),
    ).latents


def test_off_is_comfyui_itself_to_the_bit(family: Family, clip_and_depth: Any) -> None:
    clip, depth = clip_and_depth
    texts = steered(family, depth)
    plain = sampled(family, family.model, clip, texts)
    off = injected(family.model, clip, settings=OFF, alpha=0.0, synchronise=0.0)
    assert torch.equal(sampled(family, off, clip, texts), plain)
    assert not torch.allclose(sampled(family, injected(family.model, clip), clip, texts), plain, atol=0.1)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("sd15", "keys and values"),
        ("sdxl", "features"),
        ("sd15", "clean latents"),
        ("sd15", "all of it"),
        ("sdxl", "all of it"),
    ],
)
def test_on_is_what_our_pipeline_makes(
    families: Callable[[str], Family], clip_and_depth: Any, name: str, part: str
) -> None:
    (clip, depth), family = clip_and_depth, families(name)
    settings, alpha, synchronise = {
        "keys and values": ("", 0.0, 0.0),
        "features": (OFF, 1.0, 0.0),
        "clean latents": (OFF, 0.0, 0.5),
        "all of it": ("", 1.0, 0.5),
    }[part]
    method = replace(
        OURS,
        injection=replace(OURS.injection, pre_attn=not settings, alpha=alpha, n_keyframes=3),
        latents=replace(OURS.latents, synchronise=synchronise),
    )
    model = injected(family.model, clip, settings=settings, alpha=alpha, synchronise=synchronise)
    texts, latents = steered(family, depth), family.model.get_model_object("latent_format")
    theirs = latents.process_in(sampled(family, model, clip, texts))
    assert (theirs - ours(family, clip, method)).abs().max() < 1e-3
    # Without this part it would be another result.
    plain = latents.process_in(sampled(family, family.model, clip, texts))
    assert (theirs - plain).abs().max() > 0.05

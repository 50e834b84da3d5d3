"""Latents become pictures in one place, as diffusers' own pipelines make them."""

import numpy as np
import torch
from diffusers import AutoencoderKL
from pipelines import make_pipe, tiny_autoencoder
from tiny_models import tiny_pipeline, tiny_vae

from genrender.backbones.families import backbone_of
from genrender.backbones.latent_space import decoded, unscaled


def latents_of(height: int, width: int) -> torch.Tensor:
    return torch.randn(1, 4, height, width, generator=torch.Generator().manual_seed(3))


def test_an_autoencoders_shift_is_added_after_its_factor():
    vae, latents = tiny_vae(), latents_of(5, 7)
    vae.register_to_config(scaling_factor=0.36, shift_factor=0.12)
    assert torch.equal(unscaled(vae, latents), latents / 0.36 + 0.12)
    expected = vae.decode(latents / 0.36 + 0.12).sample
    assert torch.equal(decoded(vae, latents), expected.detach())
    vae.register_to_config(shift_factor=None)
    assert not torch.allclose(decoded(vae, latents), expected, atol=1e-3)


def test_autoencoders_of_other_factors_make_pictures_of_their_size():
    levels = 3
    vae = AutoencoderKL(
        block_out_channels=(4,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        norm_num_groups=2,
    )
    for pipe, factor in ((make_pipe(vae=vae), 4), (make_pipe(vae=tiny_autoencoder(n_levels=2)), 2)):
        assert backbone_of(pipe).vae_factor == factor
        picture, is_flagged = backbone_of(pipe).decode(latents_of(5, 7))
        assert picture.shape == (5 * factor, 7 * factor, 3)
        assert not is_flagged


def test_tiling_that_was_switched_on_by_diffusers_counts():
    pipe, latents = tiny_pipeline(), latents_of(12, 20)
    whole, _ = backbone_of(pipe).decode(latents)
    pipe.vae.enable_tiling()
    pipe.vae.tile_sample_min_size, pipe.vae.tile_latent_min_size = 64, 8
    tiled, _ = backbone_of(pipe).decode(latents)
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).max() > 1e-4  # norms see a tile, so it shows that there are some
    expected = pipe.vae.tiled_decode(latents / pipe.vae.config.scaling_factor).sample
    expected = (expected / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).detach().numpy()
    np.testing.assert_allclose(tiled, expected, atol=1e-6)


def test_a_tiny_autoencoder_and_its_tiles_decode_as_in_diffusers():
    pipe, latents = make_pipe(vae=tiny_autoencoder().eval()), latents_of(12, 20)
    for is_tiled in (False, True):
        if is_tiled:
            pipe.vae.enable_tiling()
        expected = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
        picture, _ = backbone_of(pipe).decode(latents)
        shown = (expected / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).detach().numpy()
        np.testing.assert_allclose(picture, shown, atol=1e-6)


def test_bfloat16_on_a_cpu_stays_close():
    pipe, latents = tiny_pipeline(), latents_of(12, 20)
    full, _ = backbone_of(pipe).decode(latents)
    torch.nn.Module.to(pipe.vae, torch.bfloat16)
    half, _ = backbone_of(pipe).decode(latents)
    assert 0 < np.abs(half - full).max() <= 0.05
    assert full.std() > 0.01


def test_stable_diffusions_autoencoder_stays_in_float16():
    """Its settings ask for float32, as all do that say nothing else; diffusers does not heed it there."""
    pipe = tiny_pipeline()
    assert pipe.vae.config.force_upcast
    torch.nn.Module.to(pipe.vae, torch.float16)
    seen = []
    pipe.vae.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    backbone_of(pipe).decode(latents_of(5, 7))
    assert seen == [torch.float16]

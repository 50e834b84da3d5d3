"""The pocket model's networks: the classes of Stable Diffusion 1.5, at a size that two cores can train.

There are few convolutions, and every level of the decoder has transformer layers, the finest included: so
attention carries appearance, as it does in the large models (see docs/pocket.md).
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer


@dataclass(frozen=True)
class PocketSize:
    """The sizes of one pocket model.

    Attributes:
        image: side of its pictures in pixels.
        vae_factor: pixels along a side of a latent pixel.
        latent_channels: numbers per latent pixel.
        channels: UNet channels per level, finest first.
        transformer_layers: transformer layers per block and level.
        heads: attention heads per level.
        encoder_attends: per level, whether the encoder (and with it the ControlNet) has attention; the
            decoder always has.
    """

    image: int
    vae_factor: int
    latent_channels: int
    channels: tuple[int, ...]
    transformer_layers: tuple[int, ...]
    heads: tuple[int, ...]
    encoder_attends: tuple[bool, ...]

    @property
    def latent_side(self) -> int:
        return self.image // self.vae_factor

    @property
    def vae_levels(self) -> int:
        """Resolutions of the autoencoder; each halves the side of the one before."""
        return self.vae_factor.bit_length()


SIZES = {
    "small": PocketSize(128, 4, 4, (64, 128, 192), (1, 1, 1), (2, 4, 4), (False, True, True)),
    "cpu": PocketSize(256, 8, 8, (64, 128, 192), (1, 1, 1), (2, 4, 4), (False, True, True)),
    "gpu": PocketSize(256, 8, 8, (96, 160, 256), (1, 1, 1), (3, 5, 8), (False, True, True)),
}

TEXT_WIDTH = 128


def make_vae(size: PocketSize) -> AutoencoderTiny:
    """An untrained autoencoder. It has no normalisation layers: flat colours are learned much faster so."""
    n_levels = size.vae_levels
    return AutoencoderTiny(
        encoder_block_out_channels=(48,) * n_levels,
        decoder_block_out_channels=(48,) * n_levels,
        num_encoder_blocks=(0, *(1,) * (n_levels - 2), 3),
        num_decoder_blocks=(3, 1, 1, 1)[:n_levels],
        latent_channels=size.latent_channels,
    )


def make_clip(tokenizer: CLIPTokenizer, size: PocketSize) -> CLIPModel:
    """An untrained CLIP. It sees a picture as 8 x 8 patches."""
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": tokenizer.model_max_length,
        **ids,
    }
    vision = {
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": size.image,
        "patch_size": size.image // 8,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=TEXT_WIDTH))


def text_tower(clip: CLIPModel) -> CLIPTextModel:
    """The text tower of a CLIP as the diffusion model's text encoder, with weights of its own."""
    text_encoder = CLIPTextModel(cast(CLIPTextConfig, clip.config.text_config))
    text_encoder.load_state_dict(clip.text_model.state_dict())
    return text_encoder.eval().requires_grad_(False)


class Denoiser(nn.Module):
    """Everything that is trained against noise, as one module."""

    def __init__(self, size: PocketSize) -> None:
        super().__init__()
        levels = len(size.channels)
        self.unet = UNet2DConditionModel(
            sample_size=size.latent_side,
            in_channels=size.latent_channels,
            out_channels=size.latent_channels,
            down_block_types=tuple(
                "CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in size.encoder_attends
            ),
            up_block_types=("CrossAttnUpBlock2D",) * levels,
            block_out_channels=size.channels,
            layers_per_block=1,
            transformer_layers_per_block=cast(Any, size.transformer_layers),  # annotated too narrowly there
            attention_head_dim=cast(Any, size.heads),  # diffusers keeps a misnomer of Stable Diffusion's
            cross_attention_dim=TEXT_WIDTH,
            norm_num_groups=16,
        )
        self.controlnet = ControlNetModel.from_unet(
            self.unet,
            conditioning_embedding_out_channels=(8, 16, 32, 64)[-size.vae_levels :],
            load_weights_from_unet=False,
        )

    def forward(
        self,
        noisy: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        control: torch.Tensor,
        control_scale: torch.Tensor,
    ) -> torch.Tensor:
        """Predicted v. `text` N L D: the caption's hidden states. `control_scale` N: 0 takes a picture's
        ControlNet away.
        """
        dtype = self.unet.dtype
        noisy, text, control = noisy.to(dtype), text.to(dtype), control.to(dtype)
        control_scale = control_scale.to(dtype)
        down, mid = self.controlnet(noisy, timestep, text, control, return_dict=False)
        scale = control_scale[:, None, None, None]
        return self.unet(
            noisy,
            timestep,
            text,
            down_block_additional_residuals=[residual * scale for residual in down],
            mid_block_additional_residual=mid * scale,
            return_dict=False,
        )[0]


def make_scheduler() -> DDIMScheduler:
    """v-prediction on a schedule that ends in nearly pure noise (0.6 % of the picture are left).

    Stable Diffusion's own schedule ends with 7 %. The flat colours of small pictures can be read from that by
    averaging, and a model that can read them never learns to ask the prompt for them; when sampling starts
    from pure noise, the noise then decides the colours.
    Source: Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2305.08891).
    Differs: the end is small instead of zero, so that schedulers that divide by it keep working.
    """
    return DDIMScheduler(
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        timestep_spacing="trailing",
    )

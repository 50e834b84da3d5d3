"""Stable Diffusion XL with a depth ControlNet, as diffusers' pipeline loads it.

Two text encoders, a pooled text and the picture's size beside the text features, an autoencoder that wants
float32: all of it stays in this file.
"""

from collections.abc import Mapping

from torch import Tensor

from genrender.backbones.text import ClipTexts
from genrender.backbones.text_encoder import TextEncoder, TextEncoders
from genrender.backbones.unet import UNetBackbone


class StableDiffusionXL(UNetBackbone):
    """The networks of a `StableDiffusionXLControlNetPipeline`; prompts are encoded as it does."""

    overflows_in_float16 = True

    def added(self, texts: ClipTexts, latent_size: tuple[int, int]) -> Mapping[str, Tensor]:
        """See `UNetBackbone.added`. The whole picture is asked for, uncropped, at the size it has."""
        assert texts.pooled is not None  # the second text encoder's
        height, width = (side * self.vae_factor for side in latent_size)
        text_encoder = self._pipeline.text_encoder_2
        pooled_width = texts.pooled.shape[-1] if text_encoder is None else text_encoder.config.projection_dim
        size = self._pipeline._get_add_time_ids(
            (height, width), (0, 0), (height, width), texts.prompts.dtype, pooled_width
        ).to(self.device)
        return {"time_ids": size.repeat(texts.n_branches, 1)}

    def text_encoders(self, clip_skip: int | None) -> TextEncoders:
        """See `UNetBackbone.text_encoders`; both read the last layer but one."""
        pipeline = self._pipeline
        if pipeline.text_encoder_2 is None:  # nothing would pool the text
            return TextEncoders([])
        pairs = (
            (pipeline.tokenizer, pipeline.text_encoder),
            (pipeline.tokenizer_2, pipeline.text_encoder_2),
        )
        return TextEncoders(
            [
                TextEncoder(pipeline, tokenizer, network, clip_skip, is_penultimate=True)
                for tokenizer, network in pairs
                if network is not None
            ]
        )

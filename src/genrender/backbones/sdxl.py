"""Stable Diffusion XL with a depth ControlNet, as diffusers' pipeline loads it.

Two text encoders, a pooled text and the picture's size beside the text features, an autoencoder that wants
float32: all of it stays in this file.
"""

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from genrender.backbones.protocol import Conditions, ObjectMaps
from genrender.backbones.text_encoder import TextEncoder, TextEncoders
from genrender.backbones.unet import UNetBackbone, UNetDenoiser


class StableDiffusionXL(UNetBackbone):
    """The networks of a `StableDiffusionXLControlNetPipeline`; prompts are encoded as it does."""

    def conditioned(
        self, conditions: Conditions, objects: ObjectMaps, latent_size: tuple[int, int]
    ) -> UNetDenoiser:
        """See `Backbone.conditioned`. The whole picture is asked for, uncropped, at the size it has."""
        pipeline, texts = self._pipeline, self.texts(conditions)
        assert texts.pooled is not None  # the second text encoder's
        height, width = (side * self.vae_factor for side in latent_size)
        text_encoder = pipeline.text_encoder_2
        pooled_width = texts.pooled.shape[-1] if text_encoder is None else text_encoder.config.projection_dim
        size = pipeline._get_add_time_ids(
            (height, width), (0, 0), (height, width), texts.prompts.dtype, pooled_width
        ).to(self.device)
        return UNetDenoiser(
            unet=pipeline.unet,
            controls=self.controls(conditions),
            texts=texts,
            latent_size=latent_size,
            guidance_scale=float(conditions.guidance_scale),
            guidance_embedding=self.guidance_embedding(conditions.guidance_scale),
            image_embeds=self.image_embeds(conditions),
            added={"time_ids": size.repeat(texts.n_branches, 1)},
            object_prompts=self.object_prompts(conditions, texts, objects, latent_size),
            lora_scale=conditions.lora_scale,
        )

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

    def decode(self, latents: Float32[Tensor, "1 C h w"]) -> tuple[Float32[np.ndarray, "H W 3"], bool]:
        """See `Backbone.decode`; SDXL has no safety checker. Its autoencoder overflows in float16."""
        vae, own_dtype = self._pipeline.vae, self._pipeline.vae.dtype
        if own_dtype == torch.float16 and vae.config.get("force_upcast"):
            vae.to(torch.float32)
        latent = latents.to(vae.dtype)
        mean, std = (vae.config.get(name) for name in ("latents_mean", "latents_std"))
        if mean is not None and std is not None:
            mean, std = (torch.tensor(each).to(latent).view(1, -1, 1, 1) for each in (mean, std))
            latent = latent * std / vae.config.scaling_factor + mean
        else:
            latent = latent / vae.config.scaling_factor
        try:
            with torch.no_grad():
                picture = vae.decode(latent, return_dict=False)[0]
        finally:
            vae.to(own_dtype)
        pictures = self._pipeline.image_processor.postprocess(picture.float(), output_type="np")
        return np.asarray(pictures)[0], False

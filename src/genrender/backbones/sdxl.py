"""Stable Diffusion XL with a depth ControlNet, as diffusers' pipeline loads it.

Two text encoders, a pooled text and the picture's size beside the text features, an autoencoder that wants
float32: all of it stays in this file.
"""

import torch

from genrender.backbones.protocol import Conditions, ObjectMaps
from genrender.backbones.unet import UNetBackbone, UNetDenoiser


class StableDiffusionXL(UNetBackbone):
    """The networks of a `StableDiffusionXLControlNetPipeline`; prompts are encoded as it does."""

    overflows_in_float16 = True

    def conditioned(
        self, conditions: Conditions, objects: ObjectMaps, latent_size: tuple[int, int]
    ) -> UNetDenoiser:
        """See `Backbone.conditioned`. The whole picture is asked for, uncropped, at the size it has."""
        pipeline, device = self._pipeline, self.device
        has_guidance = self.has_guidance(conditions.guidance_scale)
        conditional, unconditional, pooled, unconditional_pooled = pipeline.encode_prompt(
            conditions.prompt, None, device, 1, has_guidance, conditions.negative_prompt
        )
        height, width = (side * self.vae_factor for side in latent_size)
        text_encoder = pipeline.text_encoder_2
        pooled_width = pooled.shape[-1] if text_encoder is None else text_encoder.config.projection_dim
        size = pipeline._get_add_time_ids(
            (height, width), (0, 0), (height, width), conditional.dtype, pooled_width
        ).to(device)
        if has_guidance:
            conditional = torch.cat([unconditional, conditional])
            pooled = torch.cat([unconditional_pooled, pooled])
        return UNetDenoiser(
            unet=pipeline.unet,
            controls=self.controls(conditions),
            prompt_embeds=conditional,
            latent_size=latent_size,
            guidance_scale=float(conditions.guidance_scale),
            guidance_embedding=self.guidance_embedding(conditions.guidance_scale),
            image_embeds=self.image_embeds(conditions),
            added={"text_embeds": pooled, "time_ids": size.repeat(1 + has_guidance, 1)},
            object_prompts=self.object_prompts(conditions, objects, latent_size),
        )

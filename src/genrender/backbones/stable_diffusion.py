"""Stable Diffusion 1.x with a depth ControlNet, as diffusers' pipeline loads it. `pocket` is one, too."""

import torch
from jaxtyping import Float
from torch import Tensor

from genrender.backbones.protocol import Conditions, ObjectMaps
from genrender.backbones.unet import UNetBackbone, UNetDenoiser


class StableDiffusion(UNetBackbone):
    """The networks of a `StableDiffusionControlNetPipeline`; prompts are encoded as it does."""

    def conditioned(
        self, conditions: Conditions, objects: ObjectMaps, latent_size: tuple[int, int]
    ) -> UNetDenoiser:
        """See `Backbone.conditioned`."""
        pipeline, device = self._pipeline, self.device
        guidance_scale = conditions.guidance_scale
        has_guidance = self.has_guidance(guidance_scale)
        conditional, unconditional = pipeline.encode_prompt(
            conditions.prompt, device, 1, has_guidance, conditions.negative_prompt
        )
        return UNetDenoiser(
            unet=pipeline.unet,
            controls=self.controls(conditions),
            prompt_embeds=torch.cat([unconditional, conditional]) if has_guidance else conditional,
            latent_size=latent_size,
            guidance_scale=float(guidance_scale),
            guidance_embedding=self.guidance_embedding(guidance_scale),
            image_embeds=self.image_embeds(conditions),
            object_prompts=self.object_prompts(conditions, objects, latent_size),
        )

    def checked(self, picture: Float[Tensor, "1 3 H W"]) -> tuple[Float[Tensor, "1 3 H W"], bool]:
        """See `UNetBackbone.checked`."""
        pipeline = self._pipeline
        with torch.no_grad():
            checked, is_flagged = pipeline.run_safety_checker(picture, picture.device, pipeline.unet.dtype)
        return checked, bool(is_flagged and is_flagged[0])

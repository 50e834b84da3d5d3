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
        texts = self.texts(conditions)
        return UNetDenoiser(
            unet=self._pipeline.unet,
            controls=self.controls(conditions, latent_size),
            texts=texts,
            latent_size=latent_size,
            guidance=self.guidance(conditions),
            guidance_embedding=self.guidance_embedding(conditions.guidance_scale),
            image_embeds=self.image_embeds(conditions),
            object_prompts=self.object_prompts(conditions, texts, objects, latent_size),
            attention_kwargs=conditions.cross_attention_kwargs,
        )

    def checked(self, picture: Float[Tensor, "1 3 H W"]) -> tuple[Float[Tensor, "1 3 H W"], bool]:
        """See `UNetBackbone.checked`."""
        pipeline = self._pipeline
        with torch.no_grad():
            checked, is_flagged = pipeline.run_safety_checker(picture, picture.device, pipeline.unet.dtype)
        return checked, bool(is_flagged and is_flagged[0])

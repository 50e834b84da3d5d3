"""Stable Diffusion 1.x with a depth ControlNet, as diffusers' pipeline loads it. `pocket` is one, too."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32
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
            controls=self.controls(conditions),
            texts=texts,
            latent_size=latent_size,
            guidance_scale=float(conditions.guidance_scale),
            guidance_embedding=self.guidance_embedding(conditions.guidance_scale),
            image_embeds=self.image_embeds(conditions),
            object_prompts=self.object_prompts(conditions, texts, objects, latent_size),
            lora_scale=conditions.lora_scale,
        )

    def decode(self, latents: Float32[Tensor, "1 C h w"]) -> tuple[Float32[np.ndarray, "H W 3"], bool]:
        """See `Backbone.decode`."""
        pipeline = self._pipeline
        with torch.no_grad():
            latent = latents.to(pipeline.vae.dtype) / pipeline.vae.config.scaling_factor
            picture = pipeline.vae.decode(latent, return_dict=False)[0]
            decoded, is_flagged = pipeline.run_safety_checker(picture, picture.device, pipeline.unet.dtype)
        flag = bool(is_flagged and is_flagged[0])
        shown: Sequence[np.ndarray] = pipeline.image_processor.postprocess(
            decoded, output_type="np", do_denormalize=[not flag]
        )
        return np.asarray(shown)[0], flag

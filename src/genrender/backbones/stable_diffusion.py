"""Stable Diffusion 1.x with a depth ControlNet, as diffusers' pipeline loads it. `pocket` is one, too."""

import torch
from jaxtyping import Float
from torch import Tensor

from genrender.backbones.unet import UNetBackbone


class StableDiffusion(UNetBackbone):
    """The networks of a `StableDiffusionControlNetPipeline`; prompts are encoded as it does."""

    def checked(self, picture: Float[Tensor, "1 3 H W"]) -> tuple[Float[Tensor, "1 3 H W"], bool]:
        """See `UNetBackbone.checked`."""
        pipeline = self._pipeline
        with torch.no_grad():
            checked, is_flagged = pipeline.run_safety_checker(picture, picture.device, pipeline.unet.dtype)
        return checked, bool(is_flagged and is_flagged[0])

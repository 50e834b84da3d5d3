"""AnimateDiff: motion modules between the layers of a Stable Diffusion 1.x UNet, as in diffusers.

Modules see the frames of a window together, every pixel along time. A step's keyframes, which are no
neighbours in time, go through them as a short clip of their own: of what was tried that leaves their features
nearest to those that they have in a window (docs/studies/video-backbone.md).

Source: Guo et al. 2023, "AnimateDiff" (2307.04725).
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from genrender.backbones.stable_diffusion import StableDiffusion
from genrender.backbones.unet import UNetDenoiser
from genrender.errors import ConfigError


@dataclass(frozen=True)
class MotionDenoiser(UNetDenoiser):
    """A UNet with motion modules: frames that are asked for together are one clip to it."""

    @property
    def window(self) -> int:
        return self.unet.config["motion_max_seq_length"]

    def ask_unet(
        self, rows: Float[Tensor, "R C h w"], n_frames: int, timestep: Tensor, **arguments: Any
    ) -> Tensor:
        """See `UNetDenoiser.ask_unet`; the rows of a branch go in as one clip.

        Raises:
            ConfigError: they are more than the modules know places for.
        """
        if n_frames > self.window:
            raise ConfigError(
                f"{n_frames} keyframes, lent ones counted, expected at most {self.window}: the motion "
                "adapter knows no longer clips; lower the number of keyframes"
            )
        clips = rows.unflatten(0, (-1, n_frames)).transpose(1, 2)
        # It repeats what it adds for its frames itself.
        added = arguments.pop("added_cond_kwargs") or {}
        of_clips = {
            name: [each[::n_frames] for each in rows] if isinstance(rows, list) else rows[::n_frames]
            for name, rows in added.items()
        }
        output = self.unet(clips, timestep, **arguments, added_cond_kwargs=of_clips or None)[0]
        return output.transpose(1, 2).flatten(0, 1)


class AnimateDiff(StableDiffusion):
    """The networks of an `AnimateDiffControlNetPipeline`."""

    @property
    def denoiser(self) -> type[MotionDenoiser]:
        """See `UNetBackbone.denoiser`."""
        return MotionDenoiser

    @property
    def image_processor(self) -> Any:
        """See `UNetBackbone.image_processor`."""
        return self._pipeline.video_processor

    def checked(self, picture: Float[Tensor, "1 3 H W"]) -> tuple[Float[Tensor, "1 3 H W"], bool]:
        """See `UNetBackbone.checked`; diffusers' pipeline has no safety checker."""
        return picture, False

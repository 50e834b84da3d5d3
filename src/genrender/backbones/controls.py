"""Networks that steer a UNet by pictures of the scene."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diffusers.models.controlnets.controlnet import ControlNetModel
from jaxtyping import Float, Float32
from torch import Tensor

from genrender.backbones.protocol import Step
from genrender.backbones.recipe import Control
from genrender.config import ControlKind


@dataclass(frozen=True)
class Controls:
    """What steers a UNet.

    Attributes:
        network: turns control pictures into residuals for the UNet.
        setting: how it steers.
    """

    network: ControlNetModel
    setting: Control

    @property
    def kinds(self) -> tuple[ControlKind, ...]:
        """Which pictures are wanted, each once."""
        return (self.setting.kind,)

    def residuals(
        self,
        rows: Float32[Tensor, "R C h w"],
        step: Step,
        text: Float[Tensor, "R L D"],
        images: Mapping[ControlKind, Float32[Tensor, "F 3 H W"]],
        added: Mapping[str, Tensor],
    ) -> dict[str, Any]:
        """Arguments of the UNet's forward pass that carry what the control pictures say.

        Args:
            rows: the UNet's input: all frames of one branch, then all of the next.
            step: where in the run that is.
            text: text features of the rows.
            images: one per frame.
            added: further conditions of the rows by diffusers' names.
        """
        network, picture = self.network, images[self.setting.kind]
        # Asked once: diffusers walks through all modules to tell.
        dtype, n_branches = network.dtype, len(rows) // len(picture)
        # All branches see the same control pictures: they are encoded once, and what that gives is repeated.
        repeated = network.controlnet_cond_embedding.register_forward_hook(
            lambda _module, _images, encoded: encoded.repeat(n_branches, 1, 1, 1)
        )
        with repeated:
            down, mid = network(
                rows.to(dtype),
                step.timestep,
                encoder_hidden_states=text.to(dtype),
                controlnet_cond=picture.to(dtype),
                conditioning_scale=self.setting.scale,
                added_cond_kwargs=dict(added) or None,
                return_dict=False,
            )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}

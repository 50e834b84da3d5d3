"""What the sampling loop sees of an image model. Behind it lie the model's layers, texts and sizes.

A `Backbone` is a loaded model. Told what a clip shows it becomes a `Denoiser`, which the loop asks for the
model's output. A new family of models is one file that has both, and a line in `families`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from genrender.backbones.recipe import Control
from genrender.config import ControlKind
from genrender.injection.state import AttentionState

# The object under the centre of every pixel of feature maps of a size, for some frames; 0 is background.
ObjectMaps = Callable[[Sequence[int], tuple[int, int]], Int64[Tensor, "F h w"]]


@dataclass(frozen=True)
class Conditions:
    """What a clip is to show, and how strictly.

    Attributes:
        prompt: what the clip shows; None where `prompt_embeds` says it.
        negative_prompt: what it does not show; only under guidance.
        object_prompts: what single objects show, by object id; their pixels read this beside `prompt`.
        guidance_scale: weight of classifier-free guidance; 1 or less runs the conditional branch only.
        guidance_rescale: see `genrender.backbones.guidance`.
        guider: of diffusers, instead of both, see there.
        controls: how each of the model's control networks steers it, in their order; their sources are not
            looked at. A model with one network may have several, for a network that sees several pictures.
        guess_mode: control networks guess what a picture shows, as in diffusers, see `Controls`.
        image_prompt: reference picture(s) for a loaded IP-Adapter, for several a list with an entry for each.
        image_prompt_embeds: instead of pictures, what the image encoder makes of them: for each adapter
            "branches images ...", unconditional first.
        cross_attention_kwargs: for the attention layers, by diffusers' names: `ip_adapter_masks`, a tensor
            "1 images H W" for each adapter, says where its pictures count; `scale` weighs all LoRAs.
        prompts_at: frames, from 1 on, and what the clip shows there; between two such frames, and from
            `prompt` at frame 0 to the first, text features are blended.
        prompt_embeds: text features "1 L C" instead of `prompt`.
        negative_prompt_embeds: likewise.
        pooled_prompt_embeds: "1 P" beside `prompt_embeds`, for models of two text encoders.
        negative_pooled_prompt_embeds: likewise.
        clip_skip: the text encoders' last layers that are not used for what the clip shows; 0 and None use
            the model's own.
    """

    prompt: str | None = None
    negative_prompt: str | None = None
    object_prompts: Mapping[int, str] = field(default_factory=dict)
    guidance_scale: float = 7.5
    guidance_rescale: float = 0.0
    guider: Any = None
    controls: tuple[Control, ...] = (Control(),)
    guess_mode: bool = False
    image_prompt: Any = None
    image_prompt_embeds: Sequence[Tensor] | None = None
    cross_attention_kwargs: Mapping[str, Any] = field(default_factory=dict)
    prompts_at: tuple[tuple[int, str], ...] = ()
    prompt_embeds: Tensor | None = None
    negative_prompt_embeds: Tensor | None = None
    pooled_prompt_embeds: Tensor | None = None
    negative_pooled_prompt_embeds: Tensor | None = None
    clip_skip: int | None = None


@dataclass(frozen=True)
class Step:
    """Where in a run the model is asked.

    Attributes:
        index: number of the evaluation, from 0.
        n_steps: evaluations of the whole run.
        timestep: scalar, as the scheduler lists it.
    """

    index: int
    n_steps: int
    timestep: Tensor


@runtime_checkable
class Denoiser(Protocol):
    """An image model that has read what a clip shows.

    Attributes:
        control_kinds: which control pictures it wants to see, each once.
        window: how many consecutive frames at most it sees together, as motion modules do: they must be asked
            for together, in order. None: every frame stands alone.
        tensors: what the networks read beside latents and control pictures, by diffusers' names and in its
            shapes: the unconditional branch's rows come first.
    """

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]: ...

    @property
    def tensors(self) -> Mapping[str, Tensor]: ...

    def n_branches(self, step: Step) -> int:
        """2 where a step is under classifier-free guidance, else 1."""
        ...

    def revised(self, tensors: Mapping[str, Tensor], guidance_scale: float | None = None) -> "Denoiser":
        """The same with other tensors, and another weight of guidance where one is given.

        Args:
            tensors: of those in `tensors`, what is other; without the unconditional branch's rows guidance
                is off.
            guidance_scale: 1 or less switches guidance off.

        Raises:
            ConfigError: a tensor cannot be changed, or does not fit.
        """
        ...

    @property
    def window(self) -> int | None: ...

    def predict(
        self,
        latents: Float32[Tensor, "F C h w"],
        step: Step,
        control_images: Mapping[ControlKind, Float32[Tensor, "F 3 H W"]],
        frames: Sequence[int],
    ) -> Float32[Tensor, "F C h w"]:
        """The guided model output for some frames.

        Args:
            latents: noisy latents, already scaled by the scheduler's `scale_model_input`.
            step: where in the run that is.
            control_images: what `control_kinds` names, in [0, 1].
            frames: which frames of the clip these are.
        """
        ...

    def injected(self, attention: AttentionState) -> AbstractContextManager[None]:
        """While this lasts the self-attention layers that `attention.config` selects go through `attention`.

        Raises:
            ConfigError: it selects none.
        """
        ...


@runtime_checkable
class Backbone(Protocol):
    """An image model with its autoencoder and scheduler.

    Attributes:
        scheduler: of diffusers; the loop sets its timesteps and leaves it as the last step did.
        device: where the networks compute.
        vae_factor: image pixels along one side of a latent pixel.
        n_channels: of the latents.
    """

    @property
    def scheduler(self) -> Any: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def vae_factor(self) -> int: ...

    @property
    def n_channels(self) -> int: ...

    def conditioned(
        self, conditions: Conditions, objects: ObjectMaps, latent_size: tuple[int, int]
    ) -> Denoiser:
        """The model for a clip.

        Args:
            conditions: what the clip shows.
            objects: where it shows what, for the prompts of single objects.
            latent_size: height and width of the latents.
        """
        ...

    def reserved(self) -> AbstractContextManager[None]:
        """While this lasts no other thread uses the networks: it waits. At its end they are freed."""
        ...

    def free(self) -> None:
        """Networks that wait off the device go back there, the text's as well as the autoencoder."""
        ...

    def decode(self, latents: Float32[Tensor, "1 C h w"]) -> tuple[Float32[np.ndarray, "H W 3"], bool]:
        """A frame in [0, 1], and whether the model's safety checker has blackened it."""
        ...

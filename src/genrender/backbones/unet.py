"""UNet and ControlNet as one denoiser: noisy latents of some frames in, guided model output out."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers.models.attention import BasicTransformerBlock
from jaxtyping import Float, Float32
from torch import Tensor

from genrender.backbones.attention_sites import UNet, injected_attention, is_temporal
from genrender.backbones.controls import Controls
from genrender.backbones.guidance import Guidance
from genrender.backbones.ip_adapters import image_embeds
from genrender.backbones.latent_space import decoded
from genrender.backbones.named_tensors import named_tensors, with_named_tensors
from genrender.backbones.object_prompts import ObjectPrompts, regional_texts
from genrender.backbones.placement import free
from genrender.backbones.protocol import Conditions, ObjectMaps, Step
from genrender.backbones.text import ClipTexts, read_texts
from genrender.backbones.text_encoder import TextEncoder, TextEncoders
from genrender.backbones.turns import in_turn
from genrender.config import ControlKind
from genrender.errors import ConfigError
from genrender.injection.state import AttentionState


class UNetBackbone:
    """What backbones of a UNet with a ControlNet have in common.

    Args:
        pipeline: of diffusers, with its LoRA, textual inversions, IP-Adapter and offloading.
        scheduler: None: the pipeline's own.

    Attributes:
        overflows_in_float16: see `latent_space.decoded`.
    """

    overflows_in_float16: ClassVar[bool] = False

    def __init__(self, pipeline: Any, scheduler: Any = None) -> None:
        self._pipeline = pipeline
        self.scheduler = pipeline.scheduler if scheduler is None else scheduler

    @property
    def device(self) -> torch.device:
        return self._pipeline._execution_device

    @property
    def vae_factor(self) -> int:
        return self._pipeline.vae_scale_factor

    @property
    def n_channels(self) -> int:
        return self._pipeline.unet.config.in_channels

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """See `Backbone.reserved`."""
        with self._in_turn():
            try:
                yield
            finally:
                free(self._pipeline)

    def free(self) -> None:
        """See `Backbone.free`."""
        with self._in_turn():
            free(self._pipeline)

    def _in_turn(self) -> AbstractContextManager[None]:
        return in_turn(
            part for part in self._pipeline.components.values() if isinstance(part, torch.nn.Module)
        )

    def decode(self, latents: Float32[Tensor, "1 C h w"]) -> tuple[Float32[np.ndarray, "H W 3"], bool]:
        """See `Backbone.decode`."""
        with self._in_turn():
            picture, is_flagged = self.checked(
                decoded(self._pipeline.vae, latents, self.overflows_in_float16)
            )
        shown: Sequence[np.ndarray] = self.image_processor.postprocess(
            picture, output_type="np", do_denormalize=[not is_flagged]
        )
        return np.asarray(shown)[0], is_flagged

    @property
    def image_processor(self) -> Any:
        """What makes pictures in [0, 1] of decoded ones."""
        return self._pipeline.image_processor

    def checked(self, picture: Float[Tensor, "1 3 H W"]) -> tuple[Float[Tensor, "1 3 H W"], bool]:
        """A picture as a safety checker leaves it, and whether that has blackened it; here there is none."""
        return picture, False

    def controls(self, conditions: Conditions, latent_size: tuple[int, int]) -> Controls:
        """What steers the UNet, as the conditions say.

        Raises:
            ConfigError: a network cannot see what it is to be shown, or the UNet takes nothing from it.
        """
        height, width = (side * self.vae_factor for side in latent_size)
        controls = Controls.of(self._pipeline.controlnet, conditions, (height, width))
        takes = inspect.signature(self._pipeline.unet.forward).parameters
        if controls.has_adapters and "down_intrablock_additional_residuals" not in takes:
            raise ConfigError("motion modules take no T2I-Adapters: steer them by ControlNets")
        return controls

    def guidance(self, conditions: Conditions) -> Guidance:
        """How an unconditional branch and the conditional one are combined.

        UNets that take the guidance scale as an input (LCM) have no unconditional branch.

        Raises:
            ConfigError: there is a guider that cannot be honoured.
        """
        guider, takes_scale = conditions.guider, self._pipeline.unet.config.time_cond_proj_dim is not None
        if takes_scale and guider is not None:
            raise ConfigError(
                "this model takes guidance as an input, and a guider has nothing to combine: leave the "
                "guider out"
            )
        scale = 1.0 if takes_scale else float(conditions.guidance_scale)
        return Guidance(scale, conditions.guidance_rescale, guider)

    def guidance_embedding(self, scale: float) -> Float[Tensor, "1 E"] | None:
        """The guidance scale as an input, for UNets that take it."""
        unet = self._pipeline.unet
        if unet.config.time_cond_proj_dim is None:
            return None
        return self._pipeline.get_guidance_scale_embedding(
            torch.tensor([scale - 1.0]), embedding_dim=unet.config.time_cond_proj_dim, dtype=unet.dtype
        ).to(self.device)

    def text_encoders(self, clip_skip: int | None) -> TextEncoders:
        """What reads texts, without the last `clip_skip` layers."""
        pipeline = self._pipeline
        if pipeline.text_encoder is None:
            return TextEncoders([])
        return TextEncoders([TextEncoder(pipeline, pipeline.tokenizer, pipeline.text_encoder, clip_skip)])

    @property
    def denoiser(self) -> "type[UNetDenoiser]":
        """What asks the networks."""
        return UNetDenoiser

    def added(self, texts: ClipTexts, latent_size: tuple[int, int]) -> Mapping[str, Tensor] | None:  # noqa: ARG002
        """Further conditions, see `UNetDenoiser.added`; most families have none."""
        return None

    def conditioned(
        self, conditions: Conditions, objects: ObjectMaps, latent_size: tuple[int, int]
    ) -> "UNetDenoiser":
        """See `Backbone.conditioned`."""
        texts = self.texts(conditions)
        return self.denoiser(
            unet=self._pipeline.unet,
            controls=self.controls(conditions, latent_size),
            texts=texts,
            latent_size=latent_size,
            guidance=self.guidance(conditions),
            guidance_embedding=self.guidance_embedding(conditions.guidance_scale),
            image_embeds=self.image_embeds(conditions),
            added=self.added(texts, latent_size),
            object_prompts=self.object_prompts(conditions, texts, objects, latent_size),
            attention_kwargs=conditions.cross_attention_kwargs,
        )

    def texts(self, conditions: Conditions) -> ClipTexts:
        """What the frames read, as the conditions say."""
        encoders = self.text_encoders(conditions.clip_skip), self.text_encoders(None)
        return read_texts(self._pipeline, conditions, encoders, self.guidance(conditions).is_on)

    def object_prompts(
        self, conditions: Conditions, texts: ClipTexts, objects: ObjectMaps, latent_size: tuple[int, int]
    ) -> ObjectPrompts | None:
        """Which object reads which of the texts; None: there are no prompts of single objects."""
        if texts.objects is None:
            return None
        ids = list(conditions.object_prompts)
        return ObjectPrompts(texts.objects, ids, objects, latent_size)

    def image_embeds(self, conditions: Conditions) -> list[Tensor] | None:
        """What the UNet's IP-Adapters read; None: there are none."""
        return image_embeds(self._pipeline, conditions, self.guidance(conditions).is_on)


def feed_forward_row_by_row(network: torch.nn.Module, row_by_row: bool) -> None:
    """Whether the transformers' feed-forward layers take the rows of a batch one by one.

    They widen the features eightfold. On a CPU in float32 a row at a time takes no longer, and those widest
    of tensors no longer decide about the peak of memory. Half precision is a tenth slower that way, and a GPU
    would wait for many small kernels.
    """
    for name, block in network.named_modules():
        # In a motion module the rows are pixels, thousands of a frame's few.
        if isinstance(block, BasicTransformerBlock) and not is_temporal(name):
            block.set_chunk_feed_forward(1 if row_by_row else None)


@dataclass(frozen=True)
class UNetDenoiser:
    """A UNet with control networks under classifier-free guidance: a `Denoiser`.

    Rows go to the networks branch-major: all frames of the unconditional branch, then all of the conditional
    one.

    Attributes:
        unet: predicts noise, x0 or v, whatever its scheduler expects.
        controls: what steers it.
        texts: what the frames read; without an unconditional branch there is no guidance.
        latent_size: height and width of the latents.
        guidance: how the branches are combined.
        guidance_embedding: for UNets distilled with guidance as an input (LCM), one row; else None.
        image_embeds: IP-Adapter features, one tensor per adapter with one row per branch; else None.
        added: further conditions of both networks by diffusers' names, one row per branch (SDXL's sizes).
        object_prompts: texts of single objects, which the networks read under `injected`; else None.
        attention_kwargs: see `Conditions.cross_attention_kwargs`.
    """

    unet: UNet
    controls: Controls
    texts: ClipTexts
    latent_size: tuple[int, int]
    guidance: Guidance
    guidance_embedding: Float[Tensor, "1 E"] | None = None
    image_embeds: list[Tensor] | None = None
    added: Mapping[str, Tensor] | None = None
    object_prompts: ObjectPrompts | None = None
    attention_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def control_kinds(self) -> tuple[ControlKind, ...]:
        return self.controls.kinds

    @property
    def window(self) -> int | None:
        return None

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        return named_tensors(self.texts, self.added or {})

    def n_branches(self, step: Step) -> int:
        """See `Denoiser.n_branches`."""
        return 1 if self.texts.negative is None else self.guidance.n_branches(step)

    def revised(self, tensors: Mapping[str, Tensor], guidance_scale: float | None = None) -> "UNetDenoiser":
        """See `Denoiser.revised`."""
        texts, added = with_named_tensors(self.texts, self.added or {}, tensors)
        guidance = self.guidance
        if guidance_scale is not None:
            guidance = replace(guidance, scale=float(guidance_scale))
        return replace(self, texts=texts, added=added, guidance=guidance)

    @contextmanager
    def injected(self, attention: AttentionState) -> Iterator[None]:
        """See `Denoiser.injected`; cross-attention reads the objects' own prompts meanwhile."""
        # Networks that are offloaded are on the CPU until they compute; the text is where they do.
        on_cpu = self.texts.prompts.device.type == "cpu"
        networks = (self.unet, *self.controls.text_readers)
        for network in networks:
            in_float32 = on_cpu and network.dtype == torch.float32
            feed_forward_row_by_row(network, in_float32)
        with (
            injected_attention(self.unet, attention, self.latent_size),
            regional_texts(networks, self.object_prompts),
        ):
            yield

    def ask_unet(
        self,
        rows: Float[Tensor, "R C h w"],
        n_frames: int,  # noqa: ARG002 (for UNets that see the frames of a branch together)
        timestep: Tensor,
        **arguments: Any,
    ) -> Tensor:
        """The UNet's output for rows of so many frames in each branch."""
        return self.unet(rows, timestep, **arguments)[0]

    def predict(
        self,
        latents: Float32[Tensor, "F C h w"],
        step: Step,
        control_images: Mapping[ControlKind, Float32[Tensor, "F 3 H W"]],
        frames: Sequence[int],
    ) -> Float32[Tensor, "F C h w"]:
        """See `Denoiser.predict`."""
        if self.object_prompts is not None:
            self.object_prompts.start(frames)
        n_frames = latents.shape[0]
        # Asked once: diffusers walks through all modules to tell.
        unet_dtype = self.unet.dtype
        n_branches = self.n_branches(step)
        rows = latents.repeat(n_branches, 1, 1, 1)
        prompt_embeds, pooled = (self.texts if n_branches == 2 else self.texts.conditional).rows(frames)
        # Of what has a row per branch, the conditional one's comes last.
        added = {
            name: rows[-n_branches:].repeat_interleave(n_frames, dim=0)
            for name, rows in (self.added or {}).items()
        }
        if pooled is not None:
            added["text_embeds"] = pooled
        steered = self.controls.residuals(rows, step, prompt_embeds, control_images, added)
        images: dict[str, Any] = {}
        if self.image_embeds is not None:
            images = {
                "image_embeds": [
                    embeds[-n_branches:].repeat_interleave(n_frames, dim=0) for embeds in self.image_embeds
                ]
            }
        output = self.ask_unet(
            rows.to(unet_dtype),
            n_frames,
            step.timestep,
            encoder_hidden_states=prompt_embeds.to(unet_dtype),
            timestep_cond=self.guidance_embedding,
            cross_attention_kwargs=dict(self.attention_kwargs) or None,
            **steered.as_arguments(unet_dtype),
            added_cond_kwargs={**added, **images} or None,
            return_dict=False,
        ).float()
        unconditional, conditional = (None, output) if n_branches == 1 else output.chunk(2)
        return self.guidance.combined(conditional, unconditional, step)

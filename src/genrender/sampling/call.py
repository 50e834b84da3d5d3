"""A pipeline of diffusers called for a clip: what our front doors have in common, whatever their family."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

import numpy as np
import PIL.Image
import torch
from diffusers.utils import deprecation_utils, logging
from diffusers.utils.outputs import BaseOutput
from jaxtyping import Float32

from genrender.backbones.families import backbone_of
from genrender.backbones.protocol import Backbone
from genrender.backbones.sources import read_guidance_scale, read_vocabulary, unknown_words
from genrender.config import OURS, ControlKind, MethodConfig
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.sampling.appearance import Appearance
from genrender.sampling.callbacks import DiffusersHooks
from genrender.sampling.keywords import (
    Keywords,
    check_keywords,
    completed,
    conditions_of,
    sampling_of,
    seed_of,
)
from genrender.sampling.loop import decode_frames, sample
from genrender.sampling.store import FinalTensors
from genrender.sampling.surface import ClipSurface
from genrender.surface.tracking import SurfaceTracker

logger = logging.get_logger(__name__)

N_STEPS = 20
# Newer versions of diffusers warn of the longer word, older ones do not know the shorter.
_DTYPE = "dtype" if hasattr(deprecation_utils, "_resolve_dtype") else "torch_dtype"


@dataclass
class GenerativeRenderingOutput(BaseOutput):
    """What a run returns.

    Attributes:
        frames: "F H W 3" float32 in [0, 1]; a tensor "F 3 H W" for `output_type="pt"`, a list of pictures for
            "pil", None for "latent".
        latents: the final latents of all frames, float32 "F C h w".
        flagged_frames: indices of frames that the model's safety checker blackened; with "latent" output
            nothing is checked.
    """

    frames: Any
    latents: Any
    flagged_frames: list[int] = field(default_factory=list)


class ClipCall:
    """What our pipelines add to one of diffusers': a call that denoises all frames of a clip together.

    Components, `from_pretrained`, `save_pretrained`, schedulers, LoRA, textual inversion, IP-Adapter and
    offloading are diffusers' own.

    Attributes:
        control_kinds: what each control network sees, where a call does not say.
        standard_keywords: what a recipe says, where a call does not.
    """

    control_kinds: tuple[ControlKind, ...] = ("depth",)
    standard_keywords: Keywords = {}  # noqa: RUF012 (replaced as a whole)

    @torch.no_grad()
    def __call__(
        self: Any,  # a pipeline of diffusers
        prompt: str | None,
        gbuffers: Sequence[GBuffer],
        negative_prompt: str | None = None,
        config: MethodConfig = OURS,
        tracker: SurfaceTracker | None = None,
        seed: int | None = None,
        chunk_size: int = 8,
        appearance: Appearance | None = None,
        object_prompts: Mapping[int, str] | None = None,
        prompts_at: Sequence[tuple[int, str]] = (),
        control_kinds: Sequence[ControlKind] | None = None,
        **keywords: Unpack[Keywords],
    ) -> Any:
        """Render a clip.

        Frames are as the model decodes them: the lock that `make_video` and the command line's presets add is
        a stage of its own, on any frames of a clip with their G-buffers.

        Example:
            >>> from genrender.surface.lock import SurfaceLock, locked_frames
            >>> from genrender.surface.sightings import GeometrySightings
            >>> frames = pipe("a red fox", clip.gbuffers).frames
            >>> lock = SurfaceLock(GeometrySightings(clip.tracker), {k: frames[k] for k in (0, 8, 15)})
            >>> steady = list(locked_frames(frames, lock))

        Args:
            prompt: what the clip shows; None where `prompt_embeds` says it.
            gbuffers: one per frame, all of one size, a multiple of the VAE factor.
            negative_prompt: what it does not show; only under guidance.
            config: the method's settings, ours where none are given; `PER_FRAME` switches all mechanisms off.
            tracker: the clip's geometry; only the `reproject` engine needs it.
            seed: of everything that is drawn by chance: surface noise, keyframes, scheduler. None takes the
                (first) generator's, or 0 where there is none either.
            chunk_size: frames that go through the networks at once, halved where the device's memory does not
                suffice. It changes memory and speed, never a random number. A step's keyframes run together,
                whatever the chunk.
            appearance: frames of another run of the same model, steps and size, whose look this clip takes
                over; only with the `texture` engine.
            object_prompts: what single objects show, by object id; their pixels read this beside `prompt`.
            prompts_at: frames, from 1 on, and what the clip shows there; it changes evenly up to each.
            control_kinds: what each control network sees; None: as `ClipCall.control_kinds` says.
            keywords: of diffusers, see `genrender.sampling.keywords.Keywords`.

        Returns:
            A `GenerativeRenderingOutput`; with `return_dict=False` its fields as a tuple, as in diffusers.

        Raises:
            ConfigError: a setting is out of range, a keyword means nothing for a clip, or sizes do not fit.

        Source: Generative Rendering (arXiv 2312.01409), section 4.
        """
        check_keywords(keywords)
        keywords = completed(keywords, self.standard_keywords)
        # diffusers takes a list of prompts as a batch of pictures, but a clip has one prompt.
        for name, text in (("prompt", prompt), ("negative prompt", negative_prompt)):
            has_features = name == "negative prompt" or keywords.get("prompt_embeds") is not None
            if not (isinstance(text, str) or (text is None and has_features)):
                raise ConfigError(
                    f"the {name} is of type {type(text).__name__}, expected one str: call once per clip"
                )
        for text in (prompt or "", *(object_prompts or {}).values(), *(text for _, text in prompts_at)):
            self._warn_of_unknown_words(text)
        guidance_scale = keywords.get("guidance_scale")
        if guidance_scale is None:
            guidance_scale = read_guidance_scale(self.name_or_path)
        seed = seed_of(keywords, seed)
        # What diffusers' own properties show is set as diffusers does.
        self._guidance_scale, self._clip_skip = guidance_scale, keywords.get("clip_skip")
        self._cross_attention_kwargs, self._interrupt = keywords.get("cross_attention_kwargs"), False

        conditions = conditions_of(
            keywords,
            self.control_kinds if control_kinds is None else control_kinds,
            prompt=prompt,
            negative_prompt=negative_prompt,
            object_prompts=object_prompts or {},
            prompts_at=tuple(prompts_at),
            guidance_scale=guidance_scale,
        )
        sampling = sampling_of(keywords, seed, chunk_size, N_STEPS)
        surface = ClipSurface(
            gbuffers, self.vae_scale_factor, config, seed, self._execution_device, tracker, appearance
        )
        wanted = keywords.get("callback_on_step_end_tensor_inputs", ("latents",))
        with DiffusersHooks(self, keywords.get("callback_on_step_end"), wanted) as hooks:
            final = sample(self.backbone, conditions, surface, config, sampling, hooks=hooks)
        flagged: list[int] = []
        pictures = self._pictures(final, keywords.get("output_type", "np"), flagged)
        if not keywords.get("return_dict", True):
            return pictures, final, flagged
        return GenerativeRenderingOutput(frames=pictures, latents=final, flagged_frames=flagged)

    @property
    def backbone(self) -> Backbone:
        """The networks as the sampling loop sees them."""
        return backbone_of(self)

    def decode_frames(
        self, latents: FinalTensors, on_flagged: Callable[[int], None] | None = None
    ) -> Iterator[Float32[np.ndarray, "H W 3"]]:
        """See `genrender.sampling.loop.decode_frames`."""
        return decode_frames(self.backbone, latents, on_flagged=on_flagged)

    def _pictures(self, latents: FinalTensors, output_type: str, flagged: list[int]) -> Any:
        if output_type == "latent":
            return None
        frames = np.stack(list(self.decode_frames(latents, flagged.append)))
        if output_type == "pil":
            return [PIL.Image.fromarray(frame) for frame in (frames * 255).round().astype(np.uint8)]
        return torch.from_numpy(frames).movedim(-1, 1) if output_type == "pt" else frames

    def _warn_of_unknown_words(self: Any, prompt: str) -> None:
        vocabulary = read_vocabulary(self.name_or_path) if self.name_or_path else None
        if vocabulary is not None and (unknown := unknown_words(prompt, vocabulary)):
            logger.warning(f"the model does not know these words of the prompt: {', '.join(unknown)}")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """As in diffusers, but only safetensors: a pickle may run code when it is loaded.

        `dtype` and `torch_dtype` mean the same, whichever the installed diffusers has.
        """
        for word in ("dtype", "torch_dtype"):
            if word in kwargs:
                kwargs[_DTYPE] = kwargs.pop(word)
        diffusers_own: Any = super()
        return diffusers_own.from_pretrained(
            pretrained_model_name_or_path, **(kwargs | {"use_safetensors": True})
        )

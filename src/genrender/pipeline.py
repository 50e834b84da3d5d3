"""From a sentence and the G-buffers of a clip to frames: the whole diffusion stage as numbered steps.

Example:
    >>> from genrender.pipeline import load_pipeline
    >>> pipe = load_pipeline("pocket")
    >>> result = pipe("a red and white striped biped", gbuffers, seed=7)
    >>> result.frames.shape  # (frames, height, width, 3), float32 in [0, 1]
    (16, 128, 128, 3)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import PIL.Image
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import logging
from diffusers.utils.outputs import BaseOutput
from jaxtyping import Float32
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from genrender.backbones.attention_sites import injected_attention
from genrender.backbones.hub import is_reachable
from genrender.backbones.loading import check_networks, default_device, load_controlnet, load_vae
from genrender.backbones.object_prompts import ObjectPrompts, regional_texts
from genrender.backbones.precision import default_dtype
from genrender.backbones.sources import (
    find_model,
    read_guidance_scale,
    read_model_index,
    read_vocabulary,
    unknown_words,
)
from genrender.config import MethodConfig
from genrender.correspondence.engines import make_engine
from genrender.errors import ConfigError, ModelError
from genrender.gbuffer.control import inverse_depth_range, scale_inverse_depth
from genrender.gbuffer.gbuffer import GBuffer
from genrender.injection.keyframes import (
    default_n_keyframes,
    keyframe_draws,
    seen_surface,
)
from genrender.injection.state import AttentionState
from genrender.noise.initial import surface_noise
from genrender.sampling.appearance import Appearance, AppearanceRecorder, with_lent
from genrender.sampling.chunks import Chunks, feed_forward_row_by_row, frame_chunks
from genrender.sampling.guided_model import GuidedModel, guided_output
from genrender.sampling.latents import LatentRules, latent_objects
from genrender.sampling.request import check_appearance, check_request
from genrender.sampling.scheduler_noise import StepNoise
from genrender.sampling.step import model_input_of, predicted_x0_of
from genrender.sampling.store import FrameTensors, RunStore
from genrender.storage.frame_file import FrameCache
from genrender.storage.run_files import CONTROL_FILE
from genrender.surface.tracking import SurfaceTracker

logger = logging.get_logger(__name__)

# Clean latents "n C h w" of the frames that it is given.
PredictedX0 = Callable[[Sequence[int]], Tensor]
StepCallback = Callable[
    ["GenerativeRenderingPipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None
]


@dataclass
class GenerativeRenderingOutput(BaseOutput):
    """What a run returns.

    Attributes:
        frames: "F H W 3" float32 in [0, 1]; a list of pictures for `output_type="pil"`, None for "latent".
        latents: the final latents of all frames, float32 "F C h w"; with a store folder something that reads
            those of the frames it is indexed with.
        flagged_frames: indices of frames that the model's safety checker blackened; with "latent" output
            nothing is checked.
    """

    frames: Any
    latents: Any
    flagged_frames: list[int] = field(default_factory=list)


class GenerativeRenderingPipeline(StableDiffusionControlNetPipeline):
    """Generative Rendering: all frames of a clip denoised together by an image model.

    It is diffusers' ControlNet pipeline with another `__call__`: components, `from_pretrained`,
    `save_pretrained`, schedulers, LoRA, textual inversion, IP-Adapter and offloading are diffusers' own. Any
    Stable Diffusion 1.x folder loads unchanged:

    Example:
        >>> controlnet = ControlNetModel.from_pretrained("lllyasviel/control_v11f1p_sd15_depth")
        >>> pipe = GenerativeRenderingPipeline.from_pretrained("stable-diffusion-v1-5", controlnet=controlnet)
        >>> pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        >>> frames = pipe("a bronze statue of a fox", gbuffers, num_inference_steps=20).frames
    """

    def __init__(
        self,
        vae: AutoencoderKL | AutoencoderTiny,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        scheduler: SchedulerMixin,
        safety_checker: StableDiffusionSafetyChecker | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        requires_safety_checker: bool = False,
    ) -> None:
        # diffusers requires a safety checker and a feature extractor by signature, though not in fact.
        components: dict[str, Any] = {
            "vae": vae,
            "text_encoder": text_encoder,
            "tokenizer": tokenizer,
            "unet": unet,
            "controlnet": controlnet,
            "scheduler": scheduler,
            "safety_checker": safety_checker,
            "feature_extractor": feature_extractor,
            "image_encoder": image_encoder,
        }
        super().__init__(**components, requires_safety_checker=requires_safety_checker)
        for network in (vae, unet, controlnet):
            # Convolutions are faster with this layout, and tokens are views of feature maps.
            torch.nn.Module.to(network, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    @torch.no_grad()
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride] (a clip is no batch of pictures)
        self,
        prompt: str,
        gbuffers: Sequence[GBuffer],
        negative_prompt: str | None = None,
        config: MethodConfig = MethodConfig(),  # noqa: B008 (frozen)
        tracker: SurfaceTracker | None = None,
        num_inference_steps: int = 20,
        guidance_scale: float | None = None,
        controlnet_conditioning_scale: float = 1.0,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        eta: float = 0.0,
        latents: Tensor | None = None,
        ip_adapter_image: Any = None,
        chunk_size: int = 8,
        output_type: Literal["np", "pil", "latent"] = "np",
        callback_on_step_end: StepCallback | None = None,
        attention_state: type[AttentionState] = AttentionState,
        on_outputs: Callable[[int, PredictedX0], None] | None = None,
        store_folder: Path | None = None,
        appearance: Appearance | None = None,
        recorder: AppearanceRecorder | None = None,
        object_prompts: Mapping[int, str] | None = None,
    ) -> GenerativeRenderingOutput:
        """Render a clip.

        Args:
            prompt: what the clip shows.
            gbuffers: one per frame, all of one size, a multiple of the VAE factor.
            negative_prompt: what it does not show; only under guidance.
            config: the method's settings; `PER_FRAME` switches all mechanisms off.
            tracker: the clip's geometry; only the `reproject` engine needs it.
            num_inference_steps: diffusion steps.
            guidance_scale: weight of classifier-free guidance; 1 or less runs the conditional branch only.
                None takes what the model was made for.
            controlnet_conditioning_scale: weight of the depth control.
            seed: of everything that is drawn by chance: surface noise, keyframes, scheduler. None takes the
                generator's, or 0 where there is none either.
            generator: for noise that the scheduler draws itself (ancestral samplers, eta > 0) where it does
                not live on the surface, see `NoiseConfig.every_step`; None follows `seed`.
            eta: noise of DDIM; other schedulers ignore it.
            latents: "F C h w" of unit variance, instead of mechanism 1's noise.
            ip_adapter_image: reference picture(s) for a loaded IP-Adapter.
            chunk_size: frames that go through the networks at once, halved where the device's memory does not
                suffice. It changes memory and speed, never a random number. A step's keyframes run together,
                whatever the chunk.
            output_type: `np` and `pil` decode the frames; `latent` leaves that to `decode_frames`.
            callback_on_step_end: called after each step with (pipeline, step, timestep, {"latents":
                latents}), all frames in memory; may return a dict with other latents. Setting
                `pipeline._interrupt` ends the run.
            attention_state: what happens in the selected self-attention layers; see `genrender.methods` for
                others than ours.
            on_outputs: called within each step, when the model has seen all frames, with the step and a
                function that returns the clean latents that it predicts for some frames.
            store_folder: folder for what the run carries from step to step. Memory then does not grow with
                the clip, and the same call with the same folder goes on after the last step that was done.
                None: in memory.
            appearance: frames of another run of the same model, steps and size, whose look this clip takes
                over; only with the `texture` engine.
            recorder: keeps some frames' latents of every step, for an appearance to be made of.
            object_prompts: what single objects show, by object id; their pixels read this beside `prompt`.

        Raises:
            ConfigError: a setting is out of range, or the sizes do not fit.

        Source: Generative Rendering (arXiv 2312.01409), section 4.
        """
        # 1. Check the request. What diffusers' own properties show is set as diffusers does.
        factor = self.vae_scale_factor
        check_request(prompt, negative_prompt, gbuffers, num_inference_steps, chunk_size, output_type, factor)
        for text in (prompt, *(object_prompts or {}).values()):
            self._warn_of_unknown_words(text)
        config.check()
        if guidance_scale is None:
            guidance_scale = read_guidance_scale(self.name_or_path)
        self._guidance_scale, self._clip_skip, self._cross_attention_kwargs = guidance_scale, None, None
        self._interrupt = False
        n_frames, device = len(gbuffers), self._execution_device
        if seed is None:
            seed = 0 if generator is None else generator.initial_seed()

        # 2. Encode the prompts; for guidance an unconditional branch goes beside them.
        shown = with_lent(gbuffers, appearance)
        latent_size = (gbuffers[0].height // factor, gbuffers[0].width // factor)
        texts = self._encode_object_prompts(object_prompts or {}, shown, latent_size)
        model = self._guided_model(
            prompt, negative_prompt, controlnet_conditioning_scale, ip_adapter_image, texts
        )

        # 3. Depth control images, with one range for the clip.
        inverse_range = inverse_depth_range(gbuffers)
        control = FrameCache(
            lambda f: scale_inverse_depth(gbuffers[f], inverse_range),
            n_frames,
            None if store_folder is None else store_folder / CONTROL_FILE,
        )

        def control_images(frames: Sequence[int]) -> Tensor:
            own = (control[f] for f in frames if f < n_frames)
            lent = (appearance.control[f - n_frames] for f in frames if appearance and f >= n_frames)
            depth = torch.from_numpy(np.stack([*lent, *own]))
            return depth.to(device)[:, None].expand(-1, 3, -1, -1)

        # 4. Mechanism 1: the initial noise lives on the surface.
        scheduler = cast(Any, self.scheduler)
        scheduler.set_timesteps(num_inference_steps, device=device)
        timesteps = scheduler.timesteps
        if appearance is not None:
            n_channels = self.unet.config.in_channels
            check_appearance(appearance, gbuffers, config, len(timesteps), n_channels)
        self._num_timesteps = len(timesteps)
        generator = generator or torch.Generator("cpu").manual_seed(seed)
        step_arguments = self.prepare_extra_step_kwargs(generator, eta)
        shape = (n_frames, self.unet.config.in_channels, *latent_size)
        store = RunStore(shape, len(timesteps), chunk_size, device, store_folder)
        store.begin(scheduler, generator)
        chunks, at_once = frame_chunks(n_frames, chunk_size), Chunks(chunk_size)
        for network in (self.unet, self.controlnet):
            feed_forward_row_by_row(network, device.type == "cpu" and network.dtype == torch.float32)
        if store.step == 0:
            for frames in chunks:
                store.latents[frames] = self._initial_latents(gbuffers, frames, shape, latents, seed, config)

        # 5. Mechanisms 2 and 3: which surface points frames share, and what attention does with that.
        engine = None
        if config.needs_correspondence:
            engine = make_engine(shown, config.correspondence, device, tracker, store_folder)
        lent = range(n_frames, n_frames + (0 if appearance is None else len(appearance.gbuffers)))
        attention = attention_state(config.injection, model.n_branches, latent_size, engine)
        attention.n_lent = len(lent)
        wanted = config.injection.n_keyframes
        n_keyframes = default_n_keyframes(n_frames) if wanted is None else min(wanted, n_frames)
        draws = keyframe_draws(timesteps.tolist(), scheduler.order)
        seen = seen_surface(gbuffers) if config.injection.keyframes == "coverage" else None
        rules = LatentRules(config.latents, scheduler, gbuffers, latent_size, engine, device)
        step_noise = StepNoise(scheduler, gbuffers, self.vae_scale_factor, seed, config.noise)

        # 6. All frames advance one step together.
        progress_bar: Any = self.progress_bar  # a plain method whose decorator hides its signature
        with (
            injected_attention(self.unet, attention),
            regional_texts((self.unet, self.controlnet), texts),
            progress_bar(total=len(timesteps)) as progress,
        ):
            progress.update(store.step)
            for step, timestep in enumerate(timesteps[store.step :], start=store.step):
                done = draws[step] / max(draws[-1], 1)
                keyframes = attention.choose(n_frames, n_keyframes, seed, draws[step], seen)
                # Between steps the scheduler stands alike in all chunks, except for what it keeps of latents.
                store.recall(scheduler, 0)
                model_input = partial(model_input_of, store, scheduler, timestep, appearance)
                if recorder is not None:
                    recorder.keep(step, store.latents[recorder.frames])
                outputs = guided_output(
                    model,
                    attention,
                    model_input,
                    timestep,
                    control_images,
                    n_frames,
                    [*lent, *keyframes],
                    at_once,
                    done,
                )
                for frames, output in outputs:
                    store.outputs[frames] = output
                if on_outputs is not None:
                    on_outputs(step, partial(predicted_x0_of, store, scheduler, model_input, step))
                if rules.needs_keyframes:
                    rules.start_step(keyframes, store.outputs[keyframes], model_input(keyframes), step)
                for chunk, frames in enumerate(chunks):
                    store.recall(scheduler, chunk)
                    current = store.latents[frames]
                    seen_by_model = scheduler.scale_model_input(current, timestep)
                    output = rules.change_output(store.outputs[frames], seen_by_model, frames, step, done)
                    with step_noise.of_step(step, frames):
                        stepped = scheduler.step(
                            output, timestep, current, **step_arguments, return_dict=False
                        )
                    store.next_latents[frames] = rules.change_latents(stepped[0], frames)
                    store.remember(scheduler, chunk)
                if callback_on_step_end is not None:
                    tensors = {"latents": store.next_latents[range(n_frames)]}
                    returned = callback_on_step_end(self, step, timestep, tensors)
                    if returned and "latents" in returned:
                        store.next_latents[range(n_frames)] = returned["latents"]
                store.commit(generator)
                progress.update()
                if self.interrupt:
                    break

        # 7. Latents to frames.
        pictures: Any = None
        flagged: list[int] = []
        final = store.latents if store_folder is not None else store.latents[range(n_frames)]
        if output_type != "latent":
            pictures = np.stack(list(self.decode_frames(final, flagged.append)))
        if output_type == "pil":
            pictures = [PIL.Image.fromarray(frame) for frame in (pictures * 255).round().astype(np.uint8)]
        self.maybe_free_model_hooks()
        return GenerativeRenderingOutput(frames=pictures, latents=final, flagged_frames=flagged)

    def decode_frames(
        self, latents: FrameTensors, on_flagged: Callable[[int], None] | None = None
    ) -> Iterator[Float32[np.ndarray, "H W 3"]]:
        """Frames of final latents, one by one: a long video never lies in memory as a whole, and the decoder,
        whose maps are as large as the picture, is not what decides how much memory a run takes.

        A safety checker, where the model brings one, blackens what it flags, as in diffusers.

        Args:
            latents: as the pipeline returns them.
            on_flagged: is told the index of every frame that was blackened, before that frame is yielded.

        Yields:
            The next frame, in [0, 1].
        """
        for frame in range(len(latents)):
            latent = latents[[frame]].to(self.vae.dtype) / self.vae.config.scaling_factor
            with torch.no_grad():
                picture = self.vae.decode(latent, return_dict=False)[0]
                decoded, is_flagged = self.run_safety_checker(picture, picture.device, self.unet.dtype)
            flag = bool(is_flagged and is_flagged[0])
            if flag and on_flagged is not None:
                on_flagged(frame)
            yield np.asarray(
                self.image_processor.postprocess(decoded, output_type="np", do_denormalize=[not flag])
            )[0]

    def _warn_of_unknown_words(self, prompt: str) -> None:
        vocabulary = read_vocabulary(self.name_or_path) if self.name_or_path else None
        if vocabulary is not None and (unknown := unknown_words(prompt, vocabulary)):
            logger.warning(f"the model does not know these words of the prompt: {', '.join(unknown)}")

    def _encode_object_prompts(
        self, prompts: Mapping[int, str], gbuffers: Sequence[GBuffer], latent_size: tuple[int, int]
    ) -> ObjectPrompts | None:
        if not prompts:
            return None
        device = self._execution_device
        embeds = [self.encode_prompt(text, device, 1, False)[0] for text in prompts.values()]

        def objects(frames: Sequence[int], size: tuple[int, int]) -> Tensor:
            return latent_objects([gbuffers[frame] for frame in frames], size, device)

        n_branches = 2 if self.do_classifier_free_guidance else 1
        return ObjectPrompts(torch.cat(embeds), list(prompts), objects, n_branches, latent_size)

    def _guided_model(
        self,
        prompt: str,
        negative_prompt: str | None,
        conditioning_scale: float,
        ip_adapter_image: Any,
        object_prompts: ObjectPrompts | None,
    ) -> GuidedModel:
        device, dtype = self._execution_device, self.unet.dtype
        embedding_dim = self.unet.config.time_cond_proj_dim
        guidance_embedding = None
        if embedding_dim is not None:
            # UNets that take the guidance scale as an input (LCM) need no unconditional branch.
            guidance_embedding = self.get_guidance_scale_embedding(
                torch.tensor([self.guidance_scale - 1.0]), embedding_dim=embedding_dim, dtype=dtype
            ).to(device)
        has_guidance = self.do_classifier_free_guidance
        conditional, unconditional = self.encode_prompt(prompt, device, 1, has_guidance, negative_prompt)
        branches = [unconditional, conditional] if has_guidance else [conditional]
        image_embeds = None
        if ip_adapter_image is not None:
            image_embeds = self.prepare_ip_adapter_image_embeds(
                ip_adapter_image, None, device, 1, has_guidance
            )
        return GuidedModel(
            unet=self.unet,
            controlnet=self.controlnet,
            prompt_embeds=torch.cat([embeds for embeds in branches if embeds is not None]),
            guidance_scale=float(self.guidance_scale),
            conditioning_scale=float(conditioning_scale),
            guidance_embedding=guidance_embedding,
            image_embeds=image_embeds,
            object_prompts=object_prompts,
        )

    def _initial_latents(
        self,
        gbuffers: Sequence[GBuffer],
        frames: list[int],
        shape: tuple[int, ...],
        latents: Tensor | None,
        seed: int,
        config: MethodConfig,
    ) -> Float32[Tensor, "n C h w"]:
        """Of consecutive frames: the caller's, or mechanism 1's."""
        if latents is None:
            shown = gbuffers[frames[0] : frames[-1] + 1]
            noise = surface_noise(shown, shape[1], self.vae_scale_factor, seed, config.noise, frames[0])
        elif tuple(latents.shape) == shape:
            noise = latents[frames]
        else:
            raise ConfigError(f"latents of shape {tuple(latents.shape)}, expected {shape}: one per G-buffer")
        # float32 throughout: latents are tiny, and half precision would drift over the steps.
        return noise.to(self._execution_device, torch.float32) * self.scheduler.init_noise_sigma

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> "GenerativeRenderingPipeline":
        """As in diffusers, but only safetensors: a pickle may run code when it is loaded."""
        return super().from_pretrained(pretrained_model_name_or_path, **(kwargs | {"use_safetensors": True}))


def load_pipeline(
    model: str = "pocket",
    controlnet: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    vae: str | None = None,
) -> GenerativeRenderingPipeline:
    """Load a model by name. The network is touched only where a hub model is named, and for nothing else.

    Args:
        model: `pocket` (packaged), `sd15`, a folder with model_index.json, or a hub id owner/name.
        controlnet: folder or hub id of a depth ControlNet, for models that bring none.
        device: None takes CUDA where there is one, else Apple's GPU (MPS), else the CPU.
        dtype: None computes in float16 on CUDA (pocket: float32), in bfloat16 on a CPU that does so in
            hardware, in float32 elsewhere.
        vae: folder or hub id of an autoencoder to use instead of the model's own, such as the small and fast
            `madebyollin/taesd`.

    Raises:
        ModelError: unknown name, missing or damaged files, or networks that do not fit together.

    Example:
        >>> pipe = load_pipeline("sd15")
        >>> pipe = load_pipeline("weights/stable-diffusion-v1-5", controlnet="weights/sd15-depth")
    """
    source = find_model(model, controlnet)
    device = default_device() if device is None else torch.device(device)
    if dtype is None:
        dtype = default_dtype(device, is_pocket=model == "pocket")
    try:
        has_controlnet = "controlnet" in read_model_index(source)
        components: dict[str, Any] = {}
        if source.controlnet is not None or not has_controlnet:
            components["controlnet"] = load_controlnet(source)
        if vae is not None:
            components["vae"] = load_vae(vae, source)
        pipeline = GenerativeRenderingPipeline.from_pretrained(
            source.location, local_files_only=source.is_local or not is_reachable(), **components
        )
    except ModelError:
        raise
    # What damaged files make the libraries raise knows no limits: TypeError, ZeroDivisionError, errors of
    # their own that derive from Exception alone.
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(
            f"model {model}: cannot be loaded from {source.location} ({reason.strip()})"
        ) from error
    check_networks(model, pipeline)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            # diffusers' own `to` warns of modules to keep in float32, which these networks do not have.
            torch.nn.Module.to(part, dtype)
    return pipeline.to(device)

"""UNet and ControlNet as one function: noisy latents of some frames in, guided model output out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from jaxtyping import Float, Float32
from torch import Tensor

from genrender.backbones.object_prompts import ObjectPrompts
from genrender.injection.state import AttentionState
from genrender.sampling.chunks import Chunks


@dataclass(frozen=True)
class GuidedModel:
    """One evaluation of the image model under classifier-free guidance.

    Rows go to the networks branch-major: all frames of the unconditional branch, then all of the conditional
    one.

    Attributes:
        unet: predicts noise, x0 or v, whatever its scheduler expects.
        controlnet: turns control images into residuals for the UNet.
        prompt_embeds: text features, one row per branch (unconditional first); one row switches guidance off.
        guidance_scale: weight of the conditional branch.
        conditioning_scale: weight of the ControlNet's residuals.
        guidance_embedding: for UNets distilled with guidance as an input (LCM), one row; else None.
        image_embeds: IP-Adapter features, one tensor per adapter with one row per branch; else None.
        object_prompts: texts of single objects, which the networks read under `regional_texts`; else None.
    """

    unet: UNet2DConditionModel
    controlnet: ControlNetModel
    prompt_embeds: Float[Tensor, "B L C"]
    guidance_scale: float
    conditioning_scale: float
    guidance_embedding: Float[Tensor, "1 E"] | None = None
    image_embeds: list[Tensor] | None = None
    object_prompts: ObjectPrompts | None = None

    @property
    def n_branches(self) -> int:
        return self.prompt_embeds.shape[0]

    def __call__(
        self,
        latents: Float32[Tensor, "F C h w"],
        timestep: Tensor,
        control_images: Float32[Tensor, "F 3 H W"],
        frames: Sequence[int],
    ) -> Float32[Tensor, "F C h w"]:
        """The guided model output for some frames.

        Args:
            latents: noisy latents, already scaled by the scheduler's `scale_model_input`.
            timestep: scalar, as the scheduler lists it.
            control_images: in [0, 1].
            frames: which frames of the clip these are.
        """
        if self.object_prompts is not None:
            self.object_prompts.start(frames)
        n_frames = latents.shape[0]
        # Asked once: diffusers walks through all modules to tell.
        controlnet_dtype, unet_dtype = self.controlnet.dtype, self.unet.dtype
        rows = latents.repeat(self.n_branches, 1, 1, 1)
        prompt_embeds = self.prompt_embeds.repeat_interleave(n_frames, dim=0)
        # Both branches see the same control images: they are encoded once, and what that gives is repeated.
        repeated = self.controlnet.controlnet_cond_embedding.register_forward_hook(
            lambda _module, _images, encoded: encoded.repeat(self.n_branches, 1, 1, 1)
        )
        with repeated:
            down_residuals, mid_residual = self.controlnet(
                rows.to(controlnet_dtype),
                timestep,
                encoder_hidden_states=prompt_embeds.to(controlnet_dtype),
                controlnet_cond=control_images.to(controlnet_dtype),
                conditioning_scale=self.conditioning_scale,
                return_dict=False,
            )
        added = None
        if self.image_embeds is not None:
            added = {"image_embeds": [e.repeat_interleave(n_frames, dim=0) for e in self.image_embeds]}
        output = self.unet(
            rows.to(unet_dtype),
            timestep,
            encoder_hidden_states=prompt_embeds.to(unet_dtype),
            timestep_cond=self.guidance_embedding,
            down_block_additional_residuals=[residual.to(unet_dtype) for residual in down_residuals],
            mid_block_additional_residual=mid_residual.to(unet_dtype),
            added_cond_kwargs=added,
            return_dict=False,
        )[0].float()
        if self.n_branches == 1:
            return output
        unconditional, conditional = output.chunk(2)
        # lerp would round differently from diffusers, whose output we promise to match.
        return unconditional + self.guidance_scale * (conditional - unconditional)


def guided_output(
    model: GuidedModel,
    attention: AttentionState,
    model_input: Callable[[list[int]], Float32[Tensor, "n C h w"]],
    timestep: Tensor,
    control_images: Callable[[list[int]], Float32[Tensor, "n 3 H W"]],
    n_frames: int,
    keyframes: Sequence[int],
    chunks: Chunks,
    progress: float = 0.0,
) -> Iterator[tuple[list[int], Float32[Tensor, "n C h w"]]]:
    """The guided model output for all frames of a clip at one step: keyframes first, then the others.

    Args:
        model: its UNet runs under `injected_attention` with the state `attention`.
        attention: state of the injections; where it is not active, `keyframes` are ignored.
        model_input: latents of some frames, already scaled by the scheduler's `scale_model_input`.
        timestep: scalar, as the scheduler lists it.
        control_images: of some frames, in [0, 1].
        n_frames: of the clip.
        keyframes: frames that lend their features to all others at this step.
        chunks: how many frames go through the networks at once; the keyframes run together whatever it is.
        progress: share of the steps that are done, in [0, 1].

    Yields:
        Frames that went through the networks together, and the output for them.
    """
    others = list(range(n_frames))
    if attention.is_active:
        attention.start_keyframes(keyframes, progress)
        shown = list(keyframes)
        output = model(model_input(shown), timestep, control_images(shown), shown)
        # Frames that another run lends are no part of this clip.
        own = [row for row, frame in enumerate(shown) if frame < n_frames]
        yield [shown[row] for row in own], output[own]
        others = [frame for frame in others if frame not in shown]

    def of_frames(frames: list[int]) -> Tensor:
        attention.start_frames(frames)
        return model(model_input(frames), timestep, control_images(frames), frames)

    yield from chunks.run(others, of_frames)

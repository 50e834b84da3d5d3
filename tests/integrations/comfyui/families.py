"""A tiny checkpoint of each family, loaded by ComfyUI and by our own single-file loader's diffusers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.controlnet
import comfy.sd
import engine
import torch
from diffusers import ControlNetModel, EulerDiscreteScheduler, UNet2DConditionModel
from tiny_checkpoints import (
    SD15,
    SDXL,
    TEXT_WIDTH,
    save_checkpoint,
    save_controlnet,
    tiny_controlnet,
    tiny_unet,
)
from tiny_models import tiny_components
from tiny_sdxl import sdxl_components

from genrender.pipeline import GenerativeRenderingPipeline, GenerativeRenderingXLPipeline

SCENE = Path(__file__).parents[3] / "examples" / "scenes" / "walking_biped.glb"
SIDE, N_FRAMES, CFG = 64, 5, 2.0
# Whole timesteps, at which ComfyUI and diffusers agree about noise levels.
TIMESTEPS = (999, 600, 200)


@dataclass(frozen=True, eq=False)
class Family:
    """A model in ComfyUI (`model`, `clip`, `vae`, `control`) and the same weights in diffusers."""

    name: str
    checkpoint: Path
    model: Any
    clip: Any
    vae: Any
    control: Any
    unet: UNet2DConditionModel
    controlnet: ControlNetModel

    @classmethod
    def load(cls, name: str, folder: Path) -> "Family":
        unet = tiny_unet(SDXL if name == "sdxl" else SD15)
        controlnet = tiny_controlnet(unet)
        path = save_checkpoint(folder / f"{name}.safetensors", unet, is_xl=name == "sdxl")
        control = comfy.controlnet.load_controlnet(
            str(save_controlnet(folder / "depth.safetensors", controlnet))
        )
        model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(str(path))
        return cls(name, path, model, clip, vae, control, unet, controlnet)

    @property
    def is_xl(self) -> bool:
        return self.name == "sdxl"

    def text(self, words: str) -> list[Any]:
        """A CONDITIONING."""
        return engine.call("CLIPTextEncode", clip=self.clip, text=words)[0]

    def pipeline(self) -> Any:
        """Our pipeline of the same networks; texts are to be given as features."""
        kind, parts = (
            (GenerativeRenderingXLPipeline, sdxl_components())
            if self.is_xl
            else (GenerativeRenderingPipeline, tiny_components())
        )
        parts |= {"unet": self.unet, "controlnet": self.controlnet}
        if self.is_xl:
            # Its encoders read nothing here, but diffusers checks what they would say.
            parts["text_encoder_2"].config.projection_dim = TEXT_WIDTH
        scheduler = EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading"
        )
        pipe = kind(**(parts | {"scheduler": scheduler}))
        pipe.set_progress_bar_config(disable=True)
        # The tiny autoencoder in the components halves pictures less often than ComfyUI's.
        pipe.vae_scale_factor = 8
        return pipe

    def texts(self) -> tuple[list[Any], list[Any]]:
        return self.text("a red fox"), self.text("blurry")

    def prompts(self) -> dict[str, torch.Tensor]:
        """The same texts as our pipeline takes them."""
        given = {}
        for prefix, ((features, more),) in zip(("", "negative_"), self.texts(), strict=True):
            given[f"{prefix}prompt_embeds"] = features
            if self.is_xl:
                given[f"{prefix}pooled_prompt_embeds"] = more["pooled_output"]
        return given


def sigmas(model: Any) -> torch.Tensor:
    table = model.get_model_object("model_sampling").sigmas
    return torch.cat([table[list(TIMESTEPS)].cpu(), torch.zeros(1)])


def rendered(n_frames: int = N_FRAMES, side: int = SIDE) -> tuple[Any, torch.Tensor]:
    """A clip of the project's own biped, and its depth pictures."""
    shot, _, _ = engine.call(
        "GenRenderLoadScene",
        scene=str(SCENE), width=side, height=side, animation="Walk", frames=n_frames, start="", fps=0.0,
        camera="orbit", ignore="", loop=False,
    )  # fmt: skip
    clip, depth, *_ = engine.call("GenRenderRenderPasses", shot=shot, control="depth", objects="*")
    return clip, depth


def injected(model: Any, clip: Any, seed: int = 3, chunk: int = 2, settings: str = "", **numbers: Any) -> Any:
    """A model after Surface Injection."""
    numbers = {"keyframes": 3, "alpha": 1.0, "synchronise": 0.5} | numbers
    return engine.call(
        "GenRenderSurfaceInjection",
        model=model,
        clip=clip,
        seed=seed,
        chunk=chunk,
        settings=settings,
        **numbers,
    )[0]


def sampled(
    family: Family,
    model: Any,
    clip: Any,
    texts: Any = None,
    sampler: str = "euler",
    levels: torch.Tensor | None = None,
) -> torch.Tensor:
    """Final latents of SamplerCustomAdvanced, as the autoencoder takes them."""
    made, empty, _ = engine.call("GenRenderSurfaceNoise", clip=clip, seed=3, mode="bridge")
    positive, negative = texts or family.texts()
    guider = engine.call("CFGGuider", model=model, positive=positive, negative=negative, cfg=CFG)[0]
    out, _ = engine.call(
        "SamplerCustomAdvanced",
        noise=made,
        guider=guider,
        sampler=engine.call("KSamplerSelect", sampler_name=sampler)[0],
        sigmas=sigmas(model) if levels is None else levels,
        latent_image=empty,
    )
    return out["samples"]


def steered(family: Family, depth: torch.Tensor, strength: float = 1.0) -> tuple[Any, Any]:
    """The texts with the depth ControlNet."""
    positive, negative = family.texts()
    return engine.call(
        "ControlNetApplyAdvanced",
        positive=positive, negative=negative, control_net=family.control, image=depth, strength=strength,
        start_percent=0.0, end_percent=1.0,
    )  # fmt: skip

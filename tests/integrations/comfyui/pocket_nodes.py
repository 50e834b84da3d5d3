"""The packaged model `pocket` inside ComfyUI: for pictures that show something, by the example workflows.

ComfyUI knows the widths of the models that people have, and pocket has others: fewer groups in its norms, an
autoencoder that halves twice, a ControlNet that fits it. So its UNet is entered as a family of its own, and
what is small beside it is diffusers', behind the few functions that ComfyUI's nodes call.

    GENRENDER_COMFYUI=... python tests/integrations/comfyui/pocket_nodes.py    # makes example_workflows/*.jpg
"""

import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import engine

if __name__ == "__main__":
    engine.start()

import comfy.latent_formats
import comfy.model_base
import comfy.ops
import comfy.sd
import comfy.supported_models as known
import nodes
import numpy as np
import PIL.Image
import torch
from comfy.controlnet import ControlBase, broadcast_image_to
from comfy.ldm.modules.attention import CrossAttention
from comfy_api.latest import io
from families import SCENE
from original_layout import original_unet, under
from workflows import EXAMPLES, FOLDER, Graph, page_of, prompt_of

from genrender.gbuffer.exr.frame import write_exr
from genrender.gbuffer.preview import to_picture
from genrender.pipeline import load_pipeline
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip

HEADS = {64: 2, 128: 4, 192: 4}  # by width of the level


class Operations(comfy.ops.disable_weight_init):
    """ComfyUI's layers; its norms have 32 groups, pocket's 16."""

    class GroupNorm(comfy.ops.disable_weight_init.GroupNorm):
        def __init__(self, num_groups: int, *args: Any, **options: Any) -> None:
            super().__init__(num_groups // 2, *args, **options)


class Latents(comfy.latent_formats.SD15):
    spacial_downscale_ratio = 4


class Pocket(known.SD15):
    unet_config: ClassVar = {**known.SD15.unet_config, "context_dim": 128, "model_channels": 64}
    unet_extra_config: ClassVar = {"num_heads": 4, "num_head_channels": -1}
    # What ComfyUI calls linear is linear in the roots.
    sampling_settings: ClassVar = {"beta_schedule": "sqrt_linear", "linear_start": 1e-4, "linear_end": 0.02}
    latent_format = Latents
    custom_operations = Operations

    def model_type(self, state_dict: Any, prefix: str = "") -> Any:  # noqa: ARG002 (theirs)
        return comfy.model_base.ModelType.V_PREDICTION

    def get_model(self, *args: Any, **options: Any) -> Any:
        model = super().get_model(*args, **options)
        for layer in model.diffusion_model.modules():
            if isinstance(layer, CrossAttention):
                layer.heads = HEADS[layer.to_q.out_features]
                layer.dim_head = layer.to_q.out_features // layer.heads
            elif hasattr(layer, "n_heads"):
                layer.n_heads = HEADS[layer.attn1.to_q.out_features]
                layer.d_head = layer.attn1.to_q.out_features // layer.n_heads
        return model


class Text:
    """A CLIP as far as CLIPTextEncode asks for one."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens_scheduled(self, text: str) -> list[Any]:
        features, _ = self._pipe.encode_prompt(text, "cpu", 1, False)
        return [[features.float(), {}]]


class Autoencoder:
    """A VAE as far as VAEDecode asks for one."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        pictures = [self._vae.decode(one[None]).sample for one in latents.float()]
        return (torch.cat(pictures) / 2 + 0.5).clamp(0, 1).movedim(1, -1)


class Control(ControlBase):
    """A ControlNet of diffusers."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def copy(self) -> "Control":
        other = Control(self.network)
        self.copy_to(other)
        return other

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        super().pre_run(model, percent_to_timestep_function)
        self._sampling = model.model_sampling

    def get_control(self, x: Any, t: Any, cond: Any, n_branches: int, transformer_options: Any) -> Any:  # noqa: ARG002
        hint = broadcast_image_to(self.cond_hint_original, len(x), n_branches)
        residuals, middle = self.network(
            self._sampling.calculate_input(t, x),
            self._sampling.timestep(t),
            encoder_hidden_states=cond["c_crossattn"],
            controlnet_cond=hint,
            return_dict=False,
        )
        return self.control_merge({"output": list(residuals), "middle": [middle]}, None, None)


class LoadPocket(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        outputs = [io.Model.Output(), io.Clip.Output(), io.Vae.Output(), io.ControlNet.Output()]
        return io.Schema(node_id="LoadPocket", category="test", inputs=[], outputs=outputs)

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(*_loaded())


@cache
def _loaded() -> tuple[Any, ...]:
    pipe = load_pipeline("pocket", dtype=torch.float32, device="cpu")
    unet = under("model.diffusion_model.", original_unet(pipe.unet))
    model = comfy.sd.load_diffusion_model_state_dict(unet)
    model.model.latent_format.scale_factor = pipe.vae.config.scaling_factor
    return model, Text(pipe), Autoencoder(pipe.vae), Control(pipe.controlnet)


def with_pocket(graph: Graph, **changed: Any) -> Graph:
    """An example's graph with pocket instead of the models that it names, at pocket's size."""
    changed = {"width": 128, "height": 128, "cfg": 3.0, "strength": 1.0, **changed}
    made: dict[str, tuple[str, dict[str, Any]]] = {}
    moved = {"checkpoint": "pocket", "depth": "pocket", "lora": "pocket"}
    for name, (kind, inputs) in graph.items():
        if name in moved:
            continue
        given = dict(inputs)
        for input_, value in inputs.items():
            if isinstance(value, tuple) and value[0] in moved:
                given[input_] = (moved[value[0]], 3 if value[0] == "depth" else value[1])
        given |= {input_: changed[input_] for input_ in given.keys() & changed.keys()}
        made[name] = (kind, given)
    made["positive"][1]["text"] = "a red and white striped biped on a green background"
    made["negative"][1]["text"] = ""
    made["noise"][1]["model"] = ("pocket", 0)
    return {"pocket": ("LoadPocket", {}), **made}


def without_us(graph: Graph) -> Graph:
    """The same without what makes frames agree: fresh noise, the model by itself, no lock."""

    def changed(name: str, **inputs: Any) -> tuple[str, dict[str, Any]]:
        kind, given = graph[name]
        return kind, {**given, **inputs}

    samplers = [name for name in ("guider", "sigmas", "sample") if graph.get(name, ("", {}))[1].get("model")]
    return {
        **graph,
        **{name: changed(name, model=("pocket", 0)) for name in samplers},
        "noise": changed("noise", mode="independent"),
        "lock": changed("lock", strength=0.0),
    }


def sheet(graph: Graph) -> PIL.Image.Image:
    """Rows of frames: texture coordinates, depth, the model by itself, and with the method."""
    with_us, without = named_outputs(graph), named_outputs(without_us(graph))
    rows = [with_us["passes"][2][0], with_us["passes"][1][0], without["lock"][0][0], with_us["lock"][0][0]]
    frames = range(0, len(rows[0]), max(1, len(rows[0]) // 6))
    picture = np.concatenate([np.concatenate([row[f].numpy() for f in frames], 1) for row in rows])
    return PIL.Image.fromarray(to_picture(picture))


def named_outputs(graph: Graph) -> dict[str, list[Any]]:
    """What the nodes of a graph give, run as the page would run it."""
    outputs = engine.run_workflow(prompt_of(page_of(graph)))
    names = {str(number): name for number, name in enumerate(graph, start=1)}
    return {names[number]: found for number, found in outputs.items()}


def write_passes(folder: Path) -> None:
    """EXR passes of the scene, as other software would render them."""
    clip = render_clip(load_scene(SCENE), ShotConfig(size=(128, 128), animation="Walk", n_frames=16))
    folder.mkdir(parents=True, exist_ok=True)
    for frame, gbuffer in enumerate(clip.gbuffers):
        write_exr(folder / f"frame_{frame:04d}.exr", gbuffer)


def register() -> None:
    """Enters pocket in ComfyUI's tables of models and nodes."""
    known.models.insert(0, Pocket)
    nodes.NODE_CLASS_MAPPINGS["LoadPocket"] = LoadPocket


if __name__ == "__main__":
    register()
    inputs = Path(os.environ[engine.BASE], "input")
    write_passes(inputs / "passes")
    shutil.copy(SCENE, inputs)
    for example, graph in EXAMPLES.items():
        sheet(with_pocket(graph)).save(FOLDER / f"{example}.jpg", quality=90)

"""Motion modules: read from a folder or from a file of AnimateDiff's own, and put between a UNet's layers."""

from pathlib import Path
from typing import Any, cast

from diffusers.loaders.single_file_utils import convert_animatediff_checkpoint_to_diffusers
from diffusers.models.unets.unet_motion_model import MotionAdapter
from diffusers.pipelines.animatediff.pipeline_animatediff_controlnet import AnimateDiffControlNetPipeline
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.utils import logging

from genrender.backbones.file_networks import read_weights
from genrender.backbones.single_file import read_header
from genrender.backbones.weight_files import Reading
from genrender.errors import ModelError

logger = logging.get_logger(__name__)


def read_motion_file(path: Path, reading: Reading) -> MotionAdapter:
    """Motion modules in the layout in which AnimateDiff publishes them, such as `mm_sd_v15_v2.safetensors`.

    How many frames they know places for, and whether the UNet's middle has one, is told by the weights; the
    rest is as in all of AnimateDiff's for Stable Diffusion 1.x.

    Raises:
        ModelError: it is no file of motion modules, or a pickle that may not be read.
    """
    read_header(path, reading.allow_pickle)
    stored = read_weights(path)
    stored = {name.removeprefix("module."): weights for name, weights in stored.items()}
    places = next(
        (weights.shape[1] for name, weights in stored.items() if name.endswith("pos_encoder.pe")), None
    )
    if places is None:
        raise ModelError(f"motion adapter {path}: it holds no motion modules, expected AnimateDiff's layout")
    modules = convert_animatediff_checkpoint_to_diffusers(
        {name: weights for name, weights in stored.items() if "motion_modules" in name}
    )
    has_middle = any(name.startswith("mid_block.") for name in modules)
    widths = [weights.shape[0] for name, weights in modules.items() if _is_first_norm(name)]
    adapter = MotionAdapter(
        block_out_channels=tuple(widths), use_motion_mid_block=has_middle, motion_max_seq_length=places
    )
    kept = {name for name, _ in adapter.named_parameters()}
    if missing := sorted(kept - set(modules)):
        raise ModelError(f"motion adapter {path}: it lacks the weights {missing[0]}: get it anew")
    adapter.load_state_dict(modules, strict=False)
    return cast(Any, adapter).to(reading.torch_dtype).eval()


def _is_first_norm(name: str) -> bool:
    return name.startswith("down_blocks.") and name.endswith(".motion_modules.0.norm.weight")


def with_motion_modules(pipeline: Any, adapter: MotionAdapter, name: str) -> AnimateDiffControlNetPipeline:
    """A pipeline's networks with motion modules between the layers of its UNet.

    Stable Diffusion's noise levels are exchanged for those that all of AnimateDiff's modules were trained on.

    Args:
        pipeline: of a family that has motion modules.
        adapter: the modules; their weights are copied.
        name: what the user calls them.

    Raises:
        ModelError: they do not fit the UNet.
    """
    if not isinstance(pipeline, StableDiffusionControlNetPipeline):
        raise ModelError(
            f"motion adapter {name}: motion modules go into models of Stable Diffusion 1.x, and this is a "
            f"{type(pipeline).__name__}: leave it out or choose another model"
        )
    if pipeline.unet.config.time_cond_proj_dim is not None:
        raise ModelError(
            f"motion adapter {name}: diffusers' motion UNet does not take guidance as an input, as this "
            "distilled model (LCM) does: leave it out or choose another model"
        )
    parts: dict[str, Any] = dict(pipeline.components)
    if parts.pop("safety_checker", None) is not None:
        logger.warning("the safety checker is left out: diffusers' AnimateDiff pipeline has none")
    try:
        moving: Any = AnimateDiffControlNetPipeline(**parts, motion_adapter=adapter)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"motion adapter {name}: it does not fit the model's UNet ({_last_line(error)}): choose one that "
            "was made for this model"
        ) from error
    # The UNet has a copy.
    moving.register_modules(motion_adapter=None)
    moving.register_to_config(_name_or_path=pipeline.name_or_path)
    if moving.scheduler.config.get("beta_schedule") == "scaled_linear":
        moving.scheduler = type(moving.scheduler).from_config(moving.scheduler.config, beta_schedule="linear")
    return moving


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

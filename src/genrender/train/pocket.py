"""`genrender train pocket`: pictures, autoencoder, diffusion model, and the folder that the package ships.

Every stage can be stopped at any moment and started again: it continues from its last checkpoint.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import nn
from transformers import CLIPTokenizer

from genrender.atomic import check_writable
from genrender.errors import ConfigError, MediaError
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.train.data import complete_shards, write_shards
from genrender.train.diffusion import encode_pictures, train_denoiser, weights_hash
from genrender.train.loop import LoopConfig
from genrender.train.models import SIZES, Denoiser, make_scheduler, make_vae
from genrender.train.report import report
from genrender.train.tokenizer import write_tokenizer
from genrender.train.vae import train_vae
from genrender.train.vocabulary import vocabulary

Stage = Literal["all", "data", "vae", "diffusion", "export", "report"]


@dataclass(frozen=True)
class PocketTraining:
    """How to train a pocket model.

    Attributes:
        work_dir: pictures and checkpoints; a run that was stopped goes on from here.
        out: the finished model folder, in the layout of Stable Diffusion 1.5.
        size: `cpu` paints 128-pixel pictures, `gpu` 256-pixel ones.
        shards: training pictures in shards of 512.
        vae_steps: optimiser steps of the autoencoder, 32 crops each.
        steps: optimiser steps of UNet, ControlNet and text encoder.
        batch: pictures per step.
        learning_rate: of UNet, ControlNet and text encoder.
        stage: `all`, or one stage alone. `export` turns the latest checkpoints into a model folder,
            `report` paints unseen shapes with it.
        device: where to train.
        workers: processes that make pictures.
        init: pocket model folder whose diffusion weights to start from, instead of random ones.
    """

    work_dir: Path
    out: Path
    size: Literal["cpu", "gpu"] = "cpu"
    shards: int = 32
    vae_steps: int = 3000
    steps: int = 20_000
    batch: int = 16
    learning_rate: float = 5e-4
    stage: Stage = "all"
    device: str = "cpu"
    workers: int = 2
    init: Path | None = None


def train_pocket(config: PocketTraining) -> None:
    """Run the stages that `config` asks for.

    Raises:
        ConfigError: a count is not positive, or an earlier stage has not been run.
    """
    for name in ("shards", "vae_steps", "steps", "batch", "workers"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}, expected at least 1")
    try:
        torch.zeros(1, device=config.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"cannot train on device {config.device!r} ({reason}); try --device cpu") from error
    size = SIZES[config.size]
    pictures = config.work_dir / f"pictures-{size.image}"
    stages = ("data", "vae", "diffusion", "export", "report") if config.stage == "all" else (config.stage,)
    _check_inputs(config, stages[0], pictures)
    for folder in (config.work_dir, config.out.parent):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(
                f"cannot make folder {folder}: {error.strerror}; choose another place"
            ) from error
        check_writable(folder)
    if "data" in stages:
        write_shards(pictures, config.shards, size.image, size.image // 8, config.workers)
    if "vae" in stages:
        loop = LoopConfig(config.vae_steps, batch=32, learning_rate=1e-3, warmup=100, ema=0.99)
        train_vae(pictures, _vae_file(config), loop, config.device)
    if "diffusion" in stages:
        _train_diffusion(config, pictures)
    if "export" in stages:
        export(config)
    if "report" in stages:
        for name, value in report(config.out, config.work_dir / "report", config.device).items():
            print(f"{name}: {value:.3g}")


def _check_inputs(config: PocketTraining, stage: str, pictures: Path) -> None:
    """Raises ConfigError where the first stage that is to run lacks what an earlier one makes."""
    if stage == "vae":
        _require(bool(complete_shards(pictures)), f"training pictures in {pictures}", "data")
    if stage == "diffusion":
        _require(_vae_file(config).exists(), f"autoencoder {_vae_file(config)}", "vae")
    if stage == "export":
        _require(_denoiser_file(config).exists(), f"diffusion model {_denoiser_file(config)}", "diffusion")
    if stage == "report":
        _require((config.out / "model_index.json").exists(), f"model in {config.out}", "export")


def _vae_file(config: PocketTraining) -> Path:
    return config.work_dir / f"vae-{config.size}.pt"


def _denoiser_file(config: PocketTraining) -> Path:
    return config.work_dir / f"denoiser-{config.size}.pt"


def _require(is_there: bool, what: str, stage: str) -> None:
    if not is_there:
        raise ConfigError(f"no {what}: run `genrender train pocket --stage {stage}` first")


def _load_vae(config: PocketTraining) -> AutoencoderTiny:
    vae = make_vae()
    vae.load_state_dict(torch.load(_vae_file(config), map_location="cpu", weights_only=True)["averaged"])
    return vae.eval().requires_grad_(False)


def _tokenizer(config: PocketTraining) -> CLIPTokenizer:
    return write_tokenizer(config.work_dir / "tokenizer", vocabulary())


def _train_diffusion(config: PocketTraining, pictures: Path) -> None:
    tokenizer = _tokenizer(config)
    vae = _load_vae(config)
    cast(nn.Module, vae).to(config.device)
    data = encode_pictures(pictures, vae, tokenizer, config.device)
    facts = {
        "scaling_factor": data.scaling_factor,
        "n_pictures": len(data.token_ids),
        "vae_hash": data.vae_hash,
    }
    (config.work_dir / "latents.json").write_text(json.dumps(facts))
    loop = LoopConfig(config.steps, batch=config.batch, learning_rate=config.learning_rate)
    size, checkpoint = SIZES[config.size], _denoiser_file(config)
    train_denoiser(data, tokenizer, size, checkpoint, loop, config.device, config.init)


def export(config: PocketTraining) -> None:
    """Write the averaged weights of the latest checkpoints to `config.out`, as half-precision safetensors."""
    tokenizer = _tokenizer(config)
    denoiser = Denoiser(SIZES[config.size], tokenizer)
    state = torch.load(_denoiser_file(config), map_location="cpu", weights_only=True)
    denoiser.load_state_dict(state["averaged"])
    facts = json.loads((config.work_dir / "latents.json").read_text())
    vae = _load_vae(config)
    if weights_hash(vae) != facts["vae_hash"]:
        raise ConfigError(
            f"the autoencoder {_vae_file(config)} has changed since the diffusion model saw its latents: "
            "run `genrender train pocket --stage diffusion` again with more steps"
        )
    vae.register_to_config(scaling_factor=facts["scaling_factor"])
    pipeline = GenerativeRenderingPipeline(
        vae=vae,
        text_encoder=denoiser.text_encoder,
        tokenizer=tokenizer,
        unet=denoiser.unet,
        controlnet=denoiser.controlnet,
        scheduler=make_scheduler(),
    )
    pipeline.to(torch.float16)
    # Built beside its place and moved there whole: a stop never leaves half a model.
    part = config.out.with_name(config.out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pipeline.save_pretrained(part, safe_serialization=True)
    (part / "vocabulary.json").write_text(json.dumps(vocabulary(), indent=0))
    training = {"size": config.size, "steps": state["step"], "n_pictures": facts["n_pictures"]}
    (part / "training.json").write_text(json.dumps(training, indent=2))
    if config.out.exists():
        shutil.rmtree(config.out)
    part.rename(config.out)

"""`genrender train pocket`: pictures, autoencoder, CLIP, diffusion model, and the folder that is shipped.

Every stage can be stopped at any moment and started again: it continues from its last checkpoint.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import nn
from transformers import CLIPModel, CLIPTokenizer

from genrender.backbones.sources import POCKET_FOLDER
from genrender.errors import ConfigError, MediaError
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.storage.atomic import atomic_write, check_writable, exchanged_folder
from genrender.train.clip import train_clip, write_image_processor
from genrender.train.data import PROGRESS, WORLD_VERSION, complete_shards, write_shards
from genrender.train.diffusion import encode_pictures, train_denoiser, weights_hash
from genrender.train.judge import FILE as JUDGE_FILE
from genrender.train.judge import Judge, train_judge
from genrender.train.loop import LoopConfig, save_checkpoint
from genrender.train.models import SIZES, Denoiser, make_clip, make_scheduler, make_vae, text_tower
from genrender.train.report import ReportConfig, report
from genrender.train.subjects import parse_character
from genrender.train.tokenizer import write_tokenizer
from genrender.train.vae import train_vae
from genrender.train.vocabulary import vocabulary
from genrender.train.warm_start import read_words, smaller_encoder, start_weights
from genrender.train.words import confused_words

# What `genrender render` uses with the finished model; more makes its colours garish (see docs/pocket.md).
GUIDANCE_SCALE = 4.0
# What the folder of a pocket model holds; where there is anything else, it is not ours to replace.
PARTS = ("vae", "text_encoder", "tokenizer", "unet", "controlnet", "scheduler", "clip")
# How the model is used best: its guidance, and the longer side of its videos, whose frames are small.
SHOWN = {"guidance_scale": GUIDANCE_SCALE, "video_side": 512}
FACTS = ("model_index.json", "vocabulary.json", "genrender.json", "training.json", JUDGE_FILE)
STAGES = ("data", "vae", "clip", "judge", "diffusion", "export", "report")
Stage = Literal["all", "data", "vae", "clip", "judge", "diffusion", "vision", "decoder", "export", "report"]


@dataclass(frozen=True)
class PocketTraining:
    """How to train a pocket model.

    Attributes:
        work_dir: pictures and checkpoints; a run that was stopped goes on from here.
        out: the finished model folder, in the layout of Stable Diffusion 1.5.
        size: `cpu` for two processor cores, `gpu` a larger network for the same 256-pixel pictures, `small`
            the network of `cpu` for pictures of 128 pixels.
        shards: training pictures in shards of 512.
        vae_steps: optimiser steps of the autoencoder, 32 crops each.
        clip_steps: optimiser steps of the CLIP, 128 pairs each.
        judge_steps: optimiser steps of the judge, 32 pictures each.
        steps: optimiser steps of UNet and ControlNet.
        batch: pictures per step of UNet and ControlNet.
        learning_rate: of UNet and ControlNet.
        stage: `all`, or one stage alone. `export` turns the latest checkpoints into a model folder, `report`
            paints unseen shapes with it. No part of `all`, for a diffusion model that goes on reading what it
            has learned: `vision` trains the CLIP up to `clip_steps` without its text tower, `decoder` the
            autoencoder up to `vae_steps` without its encoder.
        device: where to train.
        workers: processes that make pictures.
        characters: scene files that the report paints besides unseen shapes, each as `FILE=NOUN`.
        init: pocket model folder whose weights to start from, instead of random ones; `pocket` is the
            packaged one. It may be made for half the picture's side. What its UNet reads stays: the text
            tower, and the latents, or four of their channels where it is smaller.
    """

    work_dir: Path
    out: Path
    size: Literal["small", "cpu", "gpu"] = "cpu"
    shards: int = 32
    vae_steps: int = 3000
    clip_steps: int = 3000
    judge_steps: int = 2500
    steps: int = 20_000
    batch: int = 16
    learning_rate: float = 5e-4
    stage: Stage = "all"
    device: str = "cpu"
    workers: int = 2
    characters: tuple[str, ...] = ()
    init: Path | None = None


def train_pocket(config: PocketTraining) -> None:
    """Run the stages that `config` asks for.

    Raises:
        ConfigError: a count is not positive, or an earlier stage has not been run.
    """
    for name in ("shards", "vae_steps", "clip_steps", "judge_steps", "steps", "batch", "workers"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}, expected at least 1")
    try:
        torch.zeros(1, device=config.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"cannot train on device {config.device!r} ({reason}); try --device cpu") from error
    size = SIZES[config.size]
    pictures = pictures_folder(config)
    stages = STAGES if config.stage == "all" else (config.stage,)
    _check_inputs(config, stages[0], pictures)
    for character in config.characters:
        parse_character(character)
    init = POCKET_FOLDER if str(config.init) == "pocket" else config.init
    if init is not None:
        read_words(init)
    if "export" in stages:
        check_replaceable(config.out)
    # The packaged model, which may be reported on, need not be writable.
    written = [config.work_dir, *([] if stages == ("report",) else [config.out.parent])]
    for folder in written:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(
                f"cannot make folder {folder}: {error.strerror}; choose another place"
            ) from error
        check_writable(folder)
    if pictures.is_dir():
        check_writable(pictures)
    smaller = None
    if init is not None:
        _take_over(config, init)
        smaller = smaller_encoder(init, size)
    if "data" in stages:
        write_shards(pictures, config.shards, size.image, size.latent_side, config.workers)
    if "vae" in stages or "decoder" in stages:
        loop = LoopConfig(config.vae_steps, batch=16, learning_rate=1e-3, warmup=100, ema=0.99)
        is_locked = "decoder" in stages or (init is not None and smaller is None)
        train_vae(pictures, size, _vae_file(config), loop, config.device, is_locked, smaller)
    if "clip" in stages or "vision" in stages:
        loop = LoopConfig(config.clip_steps, batch=128, learning_rate=1e-3, warmup=100, ema=0.995)
        is_locked = "vision" in stages or init is not None
        train_clip(pictures, _tokenizer(config), size, _clip_file(config), loop, config.device, is_locked)
    if "judge" in stages:
        loop = LoopConfig(config.judge_steps, batch=32, learning_rate=2e-3, warmup=100, ema=0.995)
        train_judge(pictures, _judge_file(config), loop, config.device)
    if "diffusion" in stages:
        _train_diffusion(config, pictures)
    if "export" in stages:
        export(config)
    if "report" in stages:
        wanted = ReportConfig(characters=config.characters)
        for name, value in report(config.out, config.work_dir / "report", wanted, config.device).items():
            print(f"{name}: {value:.3g}")


def pictures_folder(config: PocketTraining) -> Path:
    """Where the training pictures of this size and of this version's world are."""
    size = SIZES[config.size]
    return config.work_dir / f"pictures-{size.image}-{size.latent_side}-world{WORLD_VERSION}"


def _check_inputs(config: PocketTraining, stage: str, pictures: Path) -> None:
    """Raises ConfigError where the first stage that is to run lacks what an earlier one makes."""
    taken_over = config.init is not None
    if stage in ("vae", "clip", "judge", "vision", "decoder"):
        _require(bool(complete_shards(pictures)), f"training pictures in {pictures}", "data")
    if stage in ("diffusion", "decoder"):
        _require(taken_over or _vae_file(config).exists(), f"autoencoder {_vae_file(config)}", "vae")
    if stage in ("diffusion", "vision"):
        _require(taken_over or _clip_file(config).exists(), f"CLIP {_clip_file(config)}", "clip")
    if stage == "export":
        _require(_denoiser_file(config).exists(), f"diffusion model {_denoiser_file(config)}", "diffusion")
    if stage == "report":
        _require((config.out / "model_index.json").exists(), f"model in {config.out}", "export")


def _vae_file(config: PocketTraining) -> Path:
    return config.work_dir / f"vae-{config.size}.pt"


def _clip_file(config: PocketTraining) -> Path:
    return config.work_dir / f"clip-{config.size}.pt"


def _judge_file(config: PocketTraining) -> Path:
    return config.work_dir / "judge.pt"


def _denoiser_file(config: PocketTraining) -> Path:
    return config.work_dir / f"denoiser-{config.size}.pt"


def _require(is_there: bool, what: str, stage: str) -> None:
    if not is_there:
        raise ConfigError(f"no {what}: run `genrender train pocket --stage {stage}` first")


def _take_over(config: PocketTraining, init: Path) -> None:
    """Write the checkpoints that are not there yet with what the pocket model in `init` knows.

    Raises:
        ConfigError: there is no model, or one of another size or vocabulary.
    """
    parts = {
        _vae_file(config): ("vae",),
        _clip_file(config): ("clip",),
        _denoiser_file(config): ("unet", "controlnet"),
    }
    if all(checkpoint.exists() for checkpoint in parts):
        return
    try:
        networks = start_weights(init, SIZES[config.size], _tokenizer(config))
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"the weights in {init} do not fit size {config.size!r} ({str(error).splitlines()[0]}); "
            "choose another --size or leave --init out"
        ) from error
    told = init / "training.json"
    seen = json.loads(told.read_text(encoding="utf-8")).get("pictures_seen", 0) if told.is_file() else 0
    for checkpoint, names in parts.items():
        if checkpoint.exists():
            continue
        one = networks[names[0]]
        whole = one if len(names) == 1 else nn.ModuleDict({name: networks[name] for name in names})
        state = whole.state_dict()
        save_checkpoint(checkpoint, {"model": state, "averaged": state, "step": 0, "seen": seen})


def _load_averaged(module: Any, checkpoint: Path) -> dict[str, Any]:
    """Fill a module with a checkpoint's averaged weights, and return the checkpoint.

    Raises:
        ConfigError: they are of another size.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    try:
        module.load_state_dict(state["averaged"])
    except RuntimeError as error:
        raise ConfigError(
            f"the weights in {checkpoint} are of another size than this version trains; "
            "choose another --work-dir or --size"
        ) from error
    return state


def _load_vae(config: PocketTraining) -> AutoencoderTiny:
    vae = make_vae(SIZES[config.size])
    _load_averaged(vae, _vae_file(config))
    return vae.eval().requires_grad_(False)


def _load_clip(config: PocketTraining, tokenizer: CLIPTokenizer) -> CLIPModel:
    clip = make_clip(tokenizer, SIZES[config.size])
    _load_averaged(clip, _clip_file(config))
    return clip.eval().requires_grad_(False)


def _tokenizer(config: PocketTraining) -> CLIPTokenizer:
    return write_tokenizer(config.work_dir / "tokenizer", vocabulary())


def _train_diffusion(config: PocketTraining, pictures: Path) -> None:
    tokenizer = _tokenizer(config)
    vae, text_encoder = _load_vae(config), text_tower(_load_clip(config, tokenizer))
    if confused := confused_words(text_encoder, tokenizer):
        pairs = ", ".join(" and ".join(pair) for pair in confused[:5])
        PROGRESS.print(
            f"warning: the text tower cannot tell {len(confused)} pairs of words apart, such as {pairs}; the "
            "model will paint them alike. Train the CLIP longer, or from random weights"
        )
    facts: dict[str, Any] = {"seen_hashes": _hashes(vae, text_encoder)}
    cast(nn.Module, vae).to(config.device)
    data = encode_pictures(pictures, vae, tokenizer, config.device)
    facts |= {"scaling_factor": data.scaling_factor, "n_pictures": len(data.token_ids)}
    with atomic_write(config.work_dir / "latents.json") as part:
        part.write_text(json.dumps(facts), encoding="utf-8")
    loop = LoopConfig(config.steps, batch=config.batch, learning_rate=config.learning_rate)
    size, checkpoint = SIZES[config.size], _denoiser_file(config)
    train_denoiser(data, text_encoder, tokenizer, size, checkpoint, loop, config.device)


def _hashes(vae: AutoencoderTiny, text_encoder: nn.Module) -> list[str]:
    return [weights_hash(vae.encoder), weights_hash(text_encoder)]


def export(config: PocketTraining) -> None:
    """Write the averaged weights of the latest checkpoints to `config.out`, as half-precision safetensors.

    Raises:
        ConfigError: the checkpoints do not belong together, or `config.out` is no pocket model's to replace.
    """
    check_replaceable(config.out)
    tokenizer = _tokenizer(config)
    denoiser = Denoiser(SIZES[config.size])
    state = _load_averaged(denoiser, _denoiser_file(config))
    facts = json.loads((config.work_dir / "latents.json").read_text(encoding="utf-8"))
    vae, clip = _load_vae(config), _load_clip(config, tokenizer)
    text_encoder = text_tower(clip)
    if _hashes(vae, text_encoder) != facts["seen_hashes"]:
        raise ConfigError(
            f"the autoencoder or the CLIP in {config.work_dir} has changed since the diffusion model learned "
            "with it: run `genrender train pocket --stage diffusion` again with more steps"
        )
    vae.register_to_config(scaling_factor=facts["scaling_factor"])
    pipeline = GenerativeRenderingPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=denoiser.unet,
        controlnet=denoiser.controlnet,
        scheduler=make_scheduler(),
    )
    pipeline.to(torch.float16)
    with exchanged_folder(config.out) as part:
        pipeline.save_pretrained(part, safe_serialization=True)
        clip.half().save_pretrained(part / "clip")
        tokenizer.save_pretrained(part / "clip")
        write_image_processor(part / "clip", SIZES[config.size].image)
        if _judge_file(config).exists():
            judge = Judge()
            _load_averaged(judge, _judge_file(config))
            judge.save(part / JUDGE_FILE)
        (part / "vocabulary.json").write_text(json.dumps(vocabulary(), indent=0), encoding="utf-8")
        (part / "genrender.json").write_text(json.dumps(SHOWN), encoding="utf-8")
        training = {"size": config.size, "pictures_seen": state["seen"], "n_pictures": facts["n_pictures"]}
        (part / "training.json").write_text(json.dumps(training, indent=2), encoding="utf-8")


def check_replaceable(folder: Path) -> None:
    """Raises ConfigError unless a folder is missing, empty, or a pocket model with nothing beside it."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"cannot put the model into {folder}: it is a file; give --out a new folder")
    names = {file.name for file in folder.iterdir()}
    if strange := sorted(names - {*PARTS, *FACTS}):
        raise ConfigError(
            f"cannot put the model into {folder}: {strange[0]!r} there is of no pocket model, and an export "
            "replaces the whole folder; give --out a new folder"
        )

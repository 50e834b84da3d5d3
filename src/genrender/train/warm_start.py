"""A finished pocket model as a start: of the same picture size, or of half of it.

Latents of both sizes have as many pixels: one more level of the autoencoder makes up for twice the side. So a
model for 256 pixels can begin with what one for 128 knows, where they have in common what a latent pixel
says; the autoencoder is then trained to keep that (`train.vae`).
"""

import json
import re
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import Tensor, nn
from transformers import CLIPTokenizer

from genrender.errors import ConfigError
from genrender.storage.untrusted import library_errors, read_json
from genrender.train.models import Denoiser, PocketSize, make_clip, make_vae
from genrender.train.vocabulary import vocabulary

# What a smaller UNet has no weights for begins this much nearer to zero than a new network would. Not so the
# autoencoder's new channels, which are wanted from the first step on.
NEW_WEIGHTS = 0.1
# Nothing but latents has so few channels.
MOST_CHANNELS = 16
WORDS = "text_model.embeddings.token_embedding.weight"


def read_words(init: Path) -> list[str]:
    """The vocabulary of the model in `init`. Raises ConfigError where there is none."""
    if not (init / "vocabulary.json").is_file():
        raise ConfigError(f"no pocket model in {init} (no vocabulary.json there); give --init its folder")
    return read_json(init / "vocabulary.json", ConfigError, "a list of words: give --init another folder")


def picture_side(init: Path) -> int:
    """Side in pixels of the pictures of the pocket model in `init`.

    Raises:
        ConfigError: there is no model.
    """
    read_words(init)
    with library_errors(str(init), ConfigError, "give --init the folder of a finished model", Exception):
        vae, unet = (
            json.loads((init / part / "config.json").read_text(encoding="utf-8")) for part in ("vae", "unet")
        )
        return unet["sample_size"] << (len(vae["encoder_block_out_channels"]) - 1)


def smaller_encoder(init: Path, size: PocketSize) -> AutoencoderTiny | None:
    """The autoencoder in `init` where it is for pictures of half the side, and its latents are to be kept."""
    if 2 * picture_side(init) != size.image:
        return None
    vae = AutoencoderTiny.from_pretrained(init / "vae", torch_dtype=torch.float32)
    return cast(AutoencoderTiny, vae).requires_grad_(False)


def start_weights(init: Path, size: PocketSize, tokenizer: CLIPTokenizer) -> dict[str, nn.Module]:
    """The networks of `size` with what the model in `init` knows, as `vae`, `clip`, `unet` and `controlnet`.

    A model of half the picture's side fills what fits: levels count from the latents, channels that it does
    not have begin near zero, and its CLIP sees the means of four pixels. Words that it does not have begin at
    random.

    Raises:
        ConfigError: there is no model, or one of another vocabulary.
        OSError: parts of it are missing.
        RuntimeError: its weights do not fit.
    """
    if not set(read_words(init)) <= set(vocabulary()):
        raise ConfigError(f"the model in {init} knows other words than this version trains; leave --init out")
    is_half = 2 * picture_side(init) == size.image
    denoiser = Denoiser(size)
    own: dict[str, nn.Module] = {
        "vae": cast(nn.Module, make_vae(size)),
        "clip": cast(nn.Module, make_clip(tokenizer, size)),
        "unet": denoiser.unet,
        "controlnet": denoiser.controlnet,
    }
    for name, part in own.items():
        trained = cast(Any, type(part)).from_pretrained(init / name, torch_dtype=torch.float32)
        taught = trained.state_dict()
        fresh = part.state_dict()
        if is_half:
            taught = _enlarged(fresh, taught, name)
        if name == "clip":
            earlier = CLIPTokenizer.from_pretrained(init / "tokenizer")
            taught[WORDS] = _known_words(fresh[WORDS], trained.state_dict()[WORDS], tokenizer, earlier)
        part.load_state_dict(taught)
    return own


def _enlarged(own: dict[str, Tensor], taught: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The weights of an untrained `part` for twice the side, with those of a smaller one where they fit.

    Raises:
        RuntimeError: they do not fit.
    """
    result = dict(own)
    for old, new in _names(own, taught).items():
        value, target = taught[old], own.get(new)
        if new.endswith("patch_embedding.weight"):
            value = value.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
        if target is None or not _fits(tuple(value.shape), tuple(target.shape)):
            raise RuntimeError(f"{old} is {tuple(value.shape)} and has no place")
        result[new] = target * (1.0 if part == "vae" else NEW_WEIGHTS)
        result[new][tuple(slice(n) for n in value.shape)] = value
    return result


def _fits(smaller: tuple[int, ...], larger: tuple[int, ...]) -> bool:
    """Whether weights are of one shape but for the number of latent channels."""
    pairs = [(a, b) for a, b in zip(smaller, larger, strict=False) if a != b]
    return len(smaller) == len(larger) and all(a < b <= MOST_CHANNELS for a, b in pairs)


def _names(own: dict[str, Tensor], taught: dict[str, Tensor]) -> dict[str, str]:
    """What the weights of a smaller network are called in the larger one, whose first encoder level, last
    decoder level and first convolutions over the depth picture are new."""
    names = {name: name for name in taught if not name.endswith("token_embedding.weight")}  # numbered anew
    for layers in ("encoder.layers", "decoder.layers", "controlnet_cond_embedding.blocks"):
        number = re.compile(rf"^{re.escape(layers)}\.(\d+)\.")
        last, own_last = (
            max((int(found[1]) for name in weights if (found := number.match(name))), default=0)
            for weights in (taught, own)
        )
        for name in names:
            if not (found := number.match(name)):
                continue
            n = int(found[1])
            stays = {"encoder.layers": n == 0, "decoder.layers": n < last}.get(layers, False)
            if not stays:
                names[name] = f"{layers}.{n + own_last - last}.{name[found.end() :]}"
    return {old: new for old, new in names.items() if "cond_embedding.conv_in" not in old}


def _known_words(fresh: Tensor, taught: Tensor, tokenizer: CLIPTokenizer, earlier: CLIPTokenizer) -> Tensor:
    """Embeddings of all tokens: those known earlier, and new ones as large as they are.

    Args:
        fresh: embeddings of an untrained text tower, by the numbers of `tokenizer`.
        taught: embeddings by the numbers of `earlier`.
    """
    result = fresh * (taught.std() / fresh.std())
    known = earlier.get_vocab()
    for token, number in tokenizer.get_vocab().items():
        if token in known:
            result[number] = taught[known[token]]
    return result

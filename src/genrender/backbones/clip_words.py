"""The tokenizer of CLIP, which all models of Stable Diffusion share, made from its packaged merges."""

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import CLIPTokenizer

from genrender.backbones.single_file import CONFIGS

MERGES = CONFIGS / "tokenizer" / "merges.txt.gz"
MAX_TOKENS = 77


def clip_tokenizer(pad: str = "<|endoftext|>") -> Any:
    """CLIP's tokenizer of 49,408 words.

    Args:
        pad: what fills the rest of a prompt; `!` for the text encoders of OpenCLIP.
    """
    merges = gzip.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()
    # Every release of transformers reads these two files; how a tokenizer is built in memory has changed.
    with TemporaryDirectory() as folder:
        Path(folder, "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
        Path(folder, "vocab.json").write_text(json.dumps(_vocabulary(merges)), encoding="utf-8")
        return CLIPTokenizer.from_pretrained(
            folder, pad_token=pad, model_max_length=MAX_TOKENS, local_files_only=True
        )


def _vocabulary(merges: list[str]) -> dict[str, int]:
    """Words by number: bytes, bytes that end a word, what merges make, and two marks."""
    letters = _letters_of_bytes()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair.split()) for pair in merges)]
    return {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}


def _letters_of_bytes() -> list[str]:
    """A printable letter for each byte: itself where it is one, else one from beyond the first 256."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    others = 256 - len(printable)
    return [*map(chr, printable), *(chr(256 + n) for n in range(others))]

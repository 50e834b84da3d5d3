"""A CLIP tokenizer whose every known word is one token; other words fall apart into bytes."""

import json
from pathlib import Path

from jaxtyping import Int64
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import CLIPTokenizer

from genrender.storage.atomic import atomic_write

MAX_TOKENS = 32
LAST_FILE = "tokenizer_config.json"


def _byte_symbols() -> list[str]:
    """The 256 printable stand-ins that byte-level BPE uses for bytes (Source: Radford et al. 2019, GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (chr(256 + i) for i in range(256 - len(printable)))
    return [chr(byte) if byte in printable else next(others) for byte in range(256)]


def write_tokenizer(folder: Path, words: list[str]) -> CLIPTokenizer:
    """Write vocabulary and merges for `words` to `folder` and load them as Stable Diffusion's would be.

    One that is there and knows the words stays: networks were trained with the numbers that it gives them.
    """
    if not _knows(folder, words):
        _write(folder, words)
    return CLIPTokenizer.from_pretrained(folder)


def _knows(folder: Path, words: list[str]) -> bool:
    """Whether a whole tokenizer is in `folder` (its last file is there), with a token for every word."""
    if not (folder / LAST_FILE).exists():
        return False
    known = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return all(word + "</w>" in known for word in words)


def _write(folder: Path, words: list[str]) -> None:
    symbols = _byte_symbols()
    ends = [symbol + "</w>" for symbol in symbols]
    tokens = [*symbols, *ends]
    bpe = Tokenizer(BPE(end_of_word_suffix="</w>"))
    # Among merges that are as frequent, the trainer goes by its numbers of symbols, and those of the ends of
    # words are drawn by lot unless they are given: two words would change places from one run to the next.
    bpe.train_from_iterator(
        words,
        BpeTrainer(
            vocab_size=100_000,
            min_frequency=1,
            special_tokens=ends,  # pyright: ignore[reportArgumentType]
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    merges: list[list[str]] = json.loads(bpe.to_str())["model"]["merges"]
    tokens += [left + right for left, right in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MAX_TOKENS,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "do_lower_case": True,
    }
    texts = {
        "vocab.json": json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False),
        "merges.txt": "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges),
        LAST_FILE: json.dumps(config, indent=2),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LAST_FILE).unlink(missing_ok=True)
    for name, text in texts.items():
        with atomic_write(folder / name) as part:
            part.write_text(text, encoding="utf-8")


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Int64[Tensor, "N L"]:
    """Token ids, padded to the longest caption there can be."""
    return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids

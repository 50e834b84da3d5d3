"""Textual inversions: words that a file adds to what a model's text encoders know."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genrender.backbones.adapter_files import find_file, read_weights
from genrender.errors import ModelError
from genrender.storage.quiet import silent_library

NAMES = ("learned_embeds.safetensors", "learned_embeds.bin")
# What files call the vectors of the first and of the second encoder of SDXL.
_TWO_ENCODERS = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"))


@dataclass(frozen=True)
class Embedding:
    """A word of a file.

    Attributes:
        path: where it is from.
        word: what prompts call it.
        vectors: "tokens channels", for each text encoder.
    """

    path: Path
    word: str
    vectors: tuple[Tensor, ...]

    @property
    def n_tokens(self) -> int:
        """Places that the word takes of a prompt."""
        return len(self.vectors[0])


def read_embedding(source: str, allow_pickle: bool = False) -> Embedding:
    """Find and read a textual inversion.

    Files of diffusers say what their word is; all others are called by their name.

    Raises:
        ModelError: there is none, or the file holds none.
    """
    path = find_file("embedding", source, NAMES, allow_pickle)
    weights = read_weights("embedding", path)
    if isinstance(weights, dict) and "string_to_param" in weights:  # of the first web interfaces
        weights = {"emb_params": next(iter(weights["string_to_param"].values()))}
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    for names in _TWO_ENCODERS:
        if set(names) == set(tensors):
            return Embedding(path, path.stem, tuple(_rows(path, tensors[name]) for name in names))
    if len(tensors) != 1:
        first = f"{len(tensors)} tensors, such as {min(tensors)}" if tensors else "no tensors"
        raise ModelError(
            f"embedding {path}: it holds {first}, expected one word's vectors, or clip_l and clip_g for SDXL"
        )
    (name, vectors), *_ = tensors.items()
    return Embedding(path, path.stem if name == "emb_params" else name, (_rows(path, vectors),))


def _rows(path: Path, vectors: Tensor) -> Tensor:
    if vectors.dim() not in (1, 2) or not vectors.numel():
        raise ModelError(
            f"embedding {path}: its tensor is {list(vectors.shape)}, expected vectors of a word: get it anew"
        )
    return vectors if vectors.dim() == 2 else vectors[None]


def load_embeddings(pipeline: Any, embeddings: Sequence[Embedding]) -> None:
    """Teach a pipeline's text encoders the words.

    Raises:
        ModelError: vectors of another model, or a word that is known already; then nothing was changed.
    """
    encoders = [
        (getattr(pipeline, f"tokenizer{number}"), getattr(pipeline, f"text_encoder{number}"))
        for number in ("", "_2")
        if getattr(pipeline, f"text_encoder{number}", None) is not None
    ]
    known = [tokenizer.get_vocab() for tokenizer, _ in encoders]
    words = [embedding.word for embedding in embeddings]
    for embedding in embeddings:
        widths = [vectors.shape[1] for vectors in embedding.vectors]
        expected = [encoder.get_input_embeddings().weight.shape[1] for _, encoder in encoders]
        if widths != expected:
            raise ModelError(
                f"embedding {embedding.path}: it has {_list(widths)} channels where the model's text has "
                f"{_list(expected)}: it was made for another kind of model; choose one made for this kind"
            )
        if words.count(embedding.word) > 1 or any(embedding.word in vocabulary for vocabulary in known):
            raise ModelError(
                f"embedding {embedding.path}: its word {embedding.word!r} is taken: rename the file"
            )
    for embedding in embeddings:
        for vectors, (tokenizer, encoder) in zip(embedding.vectors, encoders, strict=True):
            with silent_library():  # which tells how it fills the places that are filled here
                pipeline.load_textual_inversion(
                    vectors, token=embedding.word, tokenizer=tokenizer, text_encoder=encoder
                )


def with_all_vectors(text: str, tokenizer: Any) -> str:
    """A prompt in which words of several vectors are followed by the names of the further ones.

    Differs: diffusers' `maybe_convert_prompt` leaves words with capital letters at their first vector where
    the tokenizer finds them in lower case. Here capitals never matter.

    Example:
        With an embedding `Ink` of three vectors "an ink fox" becomes "an Ink Ink_1 Ink_2 fox".
    """
    added = tokenizer.added_tokens_encoder
    words = {word.lower(): word for word in added if f"{word}_1" in added}
    if not words:
        return text

    def every_vector(found: re.Match[str]) -> str:
        names = [words[found[0].lower()]]
        while (more := f"{names[0]}_{len(names)}") in added:
            names.append(more)
        return " ".join(names)

    # Of two words of which one begins with the other, the longer one is meant.
    longest_first = sorted(map(re.escape, words), key=len, reverse=True)
    return re.sub("|".join(longest_first), every_vector, text, flags=re.IGNORECASE)


def _list(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers))

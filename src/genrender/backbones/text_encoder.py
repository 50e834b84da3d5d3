"""Text encoders: a prompt in, features out, with weights, of any length, from any layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from genrender.backbones.embeddings import with_all_vectors
from genrender.backbones.prompt_weights import weighted_parts
from genrender.errors import ConfigError


@dataclass(frozen=True)
class Features:
    """What is read of a text.

    Attributes:
        embeds: of each token.
        pooled: of the whole, from text encoders that project; else None.
    """

    embeds: Float[Tensor, "1 L C"]
    pooled: Float[Tensor, "1 P"] | None = None


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder of a pipeline, with its tokenizer.

    Attributes:
        pipeline: of diffusers, which knows where its networks compute.
        tokenizer: fits `network`.
        network: of transformers.
        clip_skip: the last layers that are not used; None: none.
        is_penultimate: SDXL reads the last layer but one, and does not normalise it.

    Raises:
        ConfigError: it has not so many layers.
    """

    pipeline: Any
    tokenizer: Any
    network: Any
    clip_skip: int | None = None
    is_penultimate: bool = False

    def __post_init__(self) -> None:
        n_skippable = self.network.config.num_hidden_layers - (2 if self.is_penultimate else 1)
        if self.clip_skip is not None and not 0 <= self.clip_skip <= n_skippable:
            raise ConfigError(f"clip_skip is {self.clip_skip}, expected 0 to {n_skippable} for this model")
        # transformers warns once of a text longer than what a network reads at once. Here it is cut up.
        self.tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True

    @property
    def device(self) -> torch.device:
        """Where it computes, which need not be where its weights wait."""
        return self.pipeline._execution_device

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    @property
    def chunk_size(self) -> int:
        """Tokens that the network reads at once, with those that mark start and end."""
        return self.tokenizer.model_max_length

    @property
    def uses_mask(self) -> bool:
        """Whether the network wants to be told what is padding; diffusers tells those that ask for it."""
        return bool(getattr(self.network.config, "use_attention_mask", False))

    def read(self, prompt: str) -> Features:
        """The features of a prompt.

        One without weights that fits is read as diffusers does. Others go through compel: chunks that end
        with a word, each with marks of its own, their features one after another. Pooled features are those
        of as much of the plain text as fits.

        Raises:
            ConfigError: the prompt cannot be parsed, or compel is needed and is not installed.
        """
        parts = [(with_all_vectors(text, self.tokenizer), weight) for text, weight in weighted_parts(prompt)]
        plain = "".join(text for text, _ in parts)
        tokens = self.tokenizer(
            plain, padding="max_length", max_length=self.chunk_size, truncation=True, return_tensors="pt"
        )
        output = self(tokens.input_ids, tokens.attention_mask if self.uses_mask else None)
        # A part that makes no token has no place in the text, and compel looks for one.
        lengths = [len(self.tokenizer(text).input_ids) - 2 for text, _ in parts]
        parts = [part for part, length in zip(parts, lengths, strict=True) if length]
        is_plain = all(weight == 1 for _, weight in parts)
        if is_plain and sum(lengths) + 2 <= self.chunk_size:
            return Features(output.last_hidden_state, output.pooled)
        return Features(self._weighted(parts), output.pooled)

    def __call__(self, token_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SimpleNamespace:
        """The features of a chunk of tokens, by the names under which compel asks for them."""
        if attention_mask is not None:
            attention_mask = None if attention_mask.all() else attention_mask.to(self.device)
        output = self.network(
            token_ids.to(self.device), attention_mask=attention_mask, output_hidden_states=True
        )
        if self.is_penultimate:
            states = output.hidden_states[-2 - (self.clip_skip or 0)]
        elif self.clip_skip:
            # Since transformers 5.6 CLIPTextModel is what its text_model was.
            model = getattr(self.network, "text_model", self.network)
            states = model.final_layer_norm(output.hidden_states[-1 - self.clip_skip])
        else:
            states = output.last_hidden_state
        return SimpleNamespace(last_hidden_state=states, pooled=output.get("text_embeds"))

    def _weighted(self, parts: Sequence[tuple[str, float]]) -> Float[Tensor, "1 L C"]:
        try:
            from compel.embeddings_provider import EmbeddingsProvider, SplitLongTextMode
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"prompts with weights or of more than {self.chunk_size - 2} tokens need compel, which is "
                "not installed: pip install 'genrender[prompts]', or write a shorter one without weights"
            ) from error
        network: Any = self
        device: Any = self.device
        provider = EmbeddingsProvider(
            self.tokenizer,
            network,
            truncate=False,
            padding_attention_mask_value=0 if self.uses_mask else 1,
            split_long_text_mode=SplitLongTextMode.WORDS,
        )
        embeds: Any = provider.get_embeddings_for_weighted_prompt_fragments(
            [[text for text, _ in parts]], [[weight for _, weight in parts]], device=device
        )
        return embeds


class TextEncoders:
    """All text encoders of a pipeline: their features side by side.

    Args:
        encoders: in the pipeline's order; none: texts cannot be read.
    """

    def __init__(self, encoders: Sequence[TextEncoder]) -> None:
        self._encoders = tuple(encoders)

    def read(self, prompt: str) -> Features:
        """The features of a prompt.

        Raises:
            ConfigError: see `TextEncoder.read`; or there are no text encoders.
        """
        if not self._encoders:
            raise ConfigError("the model was loaded without a text encoder: give prompt_embeds, or load one")
        with torch.no_grad():
            each = [encoder.read(prompt) for encoder in self._encoders]
            length = max(features.embeds.shape[1] for features in each)
            if any(features.embeds.shape[1] != length for features in each):
                each = [
                    Features(padded(features.embeds, length, encoder.read("").embeds), features.pooled)
                    for features, encoder in zip(each, self._encoders, strict=True)
                ]
        pooled = next((features.pooled for features in each if features.pooled is not None), None)
        return Features(torch.cat([features.embeds for features in each], dim=-1), pooled)

    @cached_property
    def empty(self) -> Float[Tensor, "1 L C"]:
        """The features of an empty prompt, which fill up shorter prompts beside longer ones."""
        return self.read("").embeds


def padded(
    embeds: Float[Tensor, "N L C"], length: int, empty: Float[Tensor, "1 E C"]
) -> Float[Tensor, "N {length} C"]:
    """Features with as many empty texts behind them as make up a length.

    Raises:
        ConfigError: no number of empty texts makes it up.
    """
    n_missing, rest = divmod(length - embeds.shape[1], empty.shape[1])
    if rest:
        raise ConfigError(
            f"text features for {embeds.shape[1]} tokens beside others for {length}, expected the same "
            f"number, or one that differs by a multiple of {empty.shape[1]}"
        )
    filling = empty.to(embeds).expand(len(embeds), -1, -1)
    return torch.cat([embeds, *[filling] * n_missing], dim=1)

"""Prompts of single objects: in cross-attention, each object's pixels read a text of their own as well.

Everything else reads the prompt of the whole clip. Only the conditional branch has texts, so guidance and
negative prompts work as ever.

Source: ours. MultiDiffusion (Bar-Tal et al. 2023) averages whole predictions of several prompts; here only
what is read is mixed, and regions are exact, because the scene tells them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from genrender.backbones.attention_sites import TextReader, feature_size, installed_processors, is_temporal

# How much of what an object's pixels read comes from its own prompt; the rest comes from the clip's.
OWN_WEIGHT = 0.8


class ObjectPrompts:
    """Which text which pixel reads.

    Args:
        embeds: text features of every object's prompt, one row each.
        object_ids: the object of each row.
        shown: the object under the centre of every pixel of feature maps of a size, for some frames.
        latent_size: height and width of the latents, in latent pixels.
    """

    def __init__(
        self,
        embeds: Float[Tensor, "O L C"],
        object_ids: Sequence[int],
        shown: Callable[[Sequence[int], tuple[int, int]], Int64[Tensor, "F h w"]],
        latent_size: tuple[int, int],
    ) -> None:
        self.embeds = embeds
        self.object_ids = tuple(object_ids)
        self._shown = shown
        self._latent_size = latent_size
        self._frames: tuple[int, ...] = ()
        self._maps: dict[tuple[int, int], Int64[Tensor, "F L"]] = {}

    def start(self, frames: Sequence[int]) -> None:
        """From here on the networks' rows are `frames`."""
        self._frames = tuple(frames)
        self._maps.clear()

    @property
    def n_frames(self) -> int:
        """How many frames are under way."""
        return len(self._frames)

    def region(self, index: int, n_tokens: int) -> Bool[Tensor, "F L"]:
        """Where the frames under way show the object of a row, on the map of a layer with so many tokens."""
        size = feature_size(n_tokens, *self._latent_size)
        if size not in self._maps:
            self._maps[size] = self._shown(self._frames, size).flatten(1)
        return self._maps[size] == self.object_ids[index]


class RegionalCrossAttention:
    """Attention processor of one cross-attention layer: the layer's own, once for every text.

    Args:
        own: the processor that was there before; whatever it does (LoRA, IP-Adapter), it does here, too.
        prompts: shared by all layers.
    """

    def __init__(self, own: Any, prompts: ObjectPrompts) -> None:
        self.own = own
        self.prompts = prompts

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,  # text features, with an IP-Adapter beside its image features
        attention_mask: Tensor | None = None,
        ip_adapter_masks: Any = None,  # where an IP-Adapter's pictures count
    ) -> Tensor:
        prompts = self.prompts
        masks = {} if ip_adapter_masks is None else {"ip_adapter_masks": ip_adapter_masks}
        output = self.own(attn, hidden_states, encoder_hidden_states, attention_mask, **masks)
        # The conditional branch comes last; a control network may see no other.
        n_rows = prompts.n_frames
        rows = hidden_states[-n_rows:]
        images = None
        if isinstance(encoder_hidden_states, tuple):
            images = [image[-n_rows:] for image in encoder_hidden_states[1]]
        conditional = output[-n_rows:]
        for index, embeds in enumerate(prompts.embeds):
            region = prompts.region(index, hidden_states.shape[1])
            if not region.any():
                continue
            text = embeds.to(rows.dtype).expand(n_rows, -1, -1)
            read = self.own(attn, rows, text if images is None else (text, images), **masks)
            conditional = torch.where(region[..., None], conditional.lerp(read, OWN_WEIGHT), conditional)
        return torch.cat([output[:-n_rows], conditional])


def cross_attention_layers(network: TextReader) -> list[str]:
    """Full names of the layers that read the text."""
    names = [name.removesuffix(".processor") for name in network.attn_processors]
    # Motion modules have an attn2 that reads no text.
    return [name for name in names if name.endswith(".attn2") and not is_temporal(name)]


@contextmanager
def regional_texts(networks: Sequence[TextReader], prompts: ObjectPrompts | None) -> Iterator[None]:
    """Let the networks read the objects' own prompts, too; the old processors come back in any case."""
    if prompts is None:
        yield
        return
    with ExitStack() as stack:
        for network in networks:
            before: Mapping[str, Any] = network.attn_processors
            ours = {
                layer: RegionalCrossAttention(before[f"{layer}.processor"], prompts)
                for layer in cross_attention_layers(network)
            }
            stack.enter_context(installed_processors(network, ours))
        yield

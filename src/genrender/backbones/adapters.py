"""What is added to a model: LoRAs, textual inversions and IP-Adapters, by diffusers' own loaders.

All files are read, and those that cannot be used refused, before the model is loaded.
"""

from dataclasses import dataclass
from typing import Any

from diffusers.utils import logging

from genrender.backbones.embeddings import Embedding, load_embeddings, read_embedding
from genrender.backbones.ip_adapters import IpAdapterFile, load_ip_adapters, read_ip_adapter
from genrender.backbones.lora import LoraFile, load_loras, read_lora
from genrender.backbones.recipe import Lora, Recipe

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Adapters:
    """Everything that a recipe adds to a model, read.

    Attributes:
        loras: with the file of each.
        embeddings: words for the text encoders.
        ip_adapters: in the order of their pictures.
    """

    loras: tuple[tuple[Lora, LoraFile], ...] = ()
    embeddings: tuple[Embedding, ...] = ()
    ip_adapters: tuple[IpAdapterFile, ...] = ()


def read(recipe: Recipe) -> Adapters:
    """Find and read what a recipe adds.

    Raises:
        ModelError: something is not there, cannot be read, or is of a kind that cannot be used.
    """
    pickle = recipe.allow_pickle
    return Adapters(
        tuple((lora, read_lora(lora, pickle)) for lora in recipe.loras),
        tuple(read_embedding(source, pickle) for source in recipe.embeddings),
        tuple(read_ip_adapter(prompt, pickle) for prompt in recipe.image_prompts),
    )


def apply(pipeline: Any, adapters: Adapters) -> None:
    """Put it all into a pipeline of diffusers, before that is placed. Which words are new is told.

    Raises:
        ModelError: something was made for another model.
    """
    if adapters.loras:
        load_loras(pipeline, adapters.loras)
    if adapters.embeddings:
        load_embeddings(pipeline, adapters.embeddings)
        words = ", ".join(f"{embedding.word} ({embedding.path.name})" for embedding in adapters.embeddings)
        logger.warning(f"prompts may use these words besides: {words}")
    if adapters.ip_adapters:
        load_ip_adapters(pipeline, adapters.ip_adapters)

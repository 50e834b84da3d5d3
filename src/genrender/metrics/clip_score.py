"""Pictures and sentences compared by a CLIP model.

Example:
    >>> scorer = ClipScorer.load()  # the pocket CLIP; a folder or a hub id loads another
    >>> images = scorer.embed_images(frames)
    >>> frame_consistency(images), prompt_fidelity(images, scorer.embed_texts(["a red fox"])[0])
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from transformers import AutoImageProcessor, CLIPModel, CLIPTokenizer

from genrender.backbones.sources import POCKET_FOLDER
from genrender.metrics.pretrained import load_pretrained
from genrender.storage.lazy_frames import Pictures

BATCH = 32
POCKET_CLIP = POCKET_FOLDER / "clip"


class ClipScorer:
    """Embeddings of length 1, so that a scalar product is a cosine."""

    def __init__(self, model: CLIPModel, tokenizer: CLIPTokenizer, processor: Any) -> None:
        self.model: Any = model.eval()
        self.tokenizer = tokenizer
        self.processor = processor

    @classmethod
    def load(cls, source: str | Path = POCKET_CLIP, device: str = "cpu") -> "ClipScorer":
        """Load a CLIP with its tokenizer and picture processor.

        Args:
            source: folder, or hub id such as openai/clip-vit-base-patch32; the default is the pocket CLIP.
            device: where it computes.

        Raises:
            ModelError: there is no CLIP model.
        """
        model, tokenizer, processor = load_pretrained(
            "CLIP model", source, CLIPModel, CLIPTokenizer, AutoImageProcessor
        )
        return cls(model.to(device), tokenizer, processor)

    @torch.no_grad()
    def embed_images(self, frames: Pictures) -> Float32[Tensor, "N D"]:
        """Embed pictures with values in [0, 1]."""
        parts = []
        for start in range(0, len(frames), BATCH):
            pictures = [np.round(frame * 255).astype(np.uint8) for frame in frames[start : start + BATCH]]
            pixels = self.processor(images=pictures, return_tensors="pt").pixel_values
            parts.append(_unit(self.model.get_image_features(pixel_values=pixels.to(self.model.device))))
        return torch.cat(parts)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Float32[Tensor, "N D"]:
        """Embed sentences; what exceeds the model's context is cut off."""
        tokens = self.tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt")
        return _unit(self.model.get_text_features(**tokens.to(self.model.device)))


def _unit(features: Any) -> Float32[Tensor, "N D"]:
    # transformers 5 wraps the features in an output object.
    tensor = features if isinstance(features, Tensor) else features.pooler_output
    return torch.nn.functional.normalize(tensor.float(), dim=-1).cpu()


def frame_consistency(images: Float[Tensor, "F D"]) -> float:
    """Mean cosine of neighbouring frames.

    Source: Wu et al. 2023 (Tune-A-Video) and the benchmarks after it; the raw cosine, not times 100.
    """
    return float((images[1:] * images[:-1]).sum(1).mean())


def prompt_fidelity(images: Float[Tensor, "F D"], text: Float[Tensor, "D"]) -> float:
    """Mean cosine of every frame with the prompt.

    Source: Hessel et al. 2021 (CLIPScore) without its factor 2.5 and its cut at 0.
    """
    return float((images @ text).mean())

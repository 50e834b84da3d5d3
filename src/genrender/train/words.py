"""Whether a text encoder keeps words apart: what it maps to one place, no diffusion model can tell apart."""

from itertools import combinations
from typing import Any

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from genrender.train.tokenizer import tokenize
from genrender.train.vocabulary import COLORS, LOOKS, OBJECTS

# Words that change less than this part of a sentence's features are as good as one word. Random weights give
# some 0.25; "striped" and "checkered", which a model painted alike after 200,000 pictures, gave 0.02.
LEAST_DISTANCE = 0.05


@torch.no_grad()
def word_distances(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> dict[tuple[str, str], float]:
    """How far a sentence's features move when one word takes another's place, relative to their norm.

    Looks, colours and objects are compared within their kind, in a sentence that names one of each.
    """
    device = next(text_encoder.parameters()).device
    looks = [look for look in LOOKS if look != "plain"]
    kinds = (
        (looks, "a red and white {} fox on a green background"),
        (list(COLORS), "a {} and white striped fox on a green background"),
        ([names[0][0] for names in OBJECTS.values()], "a red and white striped {} on a green background"),
    )
    distances: dict[tuple[str, str], float] = {}
    for words, sentence in kinds:
        ids = tokenize(tokenizer, [sentence.format(word) for word in words]).to(device)
        features: Any = text_encoder(ids).last_hidden_state.float()
        # Padding follows the sentence and repeats what its end says.
        n_tokens = int((ids[0] != ids[0, -1]).sum()) + 1
        flat = features[:, :n_tokens].flatten(1)
        for i, j in combinations(range(len(words)), 2):
            distances[words[i], words[j]] = float((flat[i] - flat[j]).norm() / flat[i].norm())
    return distances


def confused_words(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> list[tuple[str, str]]:
    """Pairs of words that the text encoder as good as cannot tell apart, the nearest first."""
    distances = word_distances(text_encoder, tokenizer)
    near = (pair for pair, distance in distances.items() if distance < LEAST_DISTANCE)
    return sorted(near, key=lambda pair: distances[pair])

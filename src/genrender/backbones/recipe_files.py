"""The files that a recipe names: which they are, and a short name for all they hold."""

import hashlib
from pathlib import Path

from genrender.backbones.recipe import Recipe
from genrender.backbones.sources import ModelSource, find_files, find_model, weights_digest


def recipe_sources(recipe: Recipe) -> list[ModelSource]:
    """Where everything is that a recipe names, the base first.

    Raises:
        ModelError: a name is neither of something on this machine nor of a hub model.
    """
    named = [("autoencoder", recipe.vae), ("motion adapter", recipe.motion_adapter)]
    named += [("ControlNet", control.source) for control in recipe.controls]
    named += [("LoRA", lora.source) for lora in recipe.loras]
    named += [("embedding", source) for source in recipe.embeddings]
    named += [("IP-Adapter", prompt.adapter) for prompt in recipe.image_prompts]
    parts = [find_files(what, name) for what, name in named if name is not None]
    return [find_model(recipe.base, recipe.revision, recipe.allow_pickle), *parts]


def recipe_files(recipe: Recipe) -> list[Path]:
    """All files of a recipe that are on this machine; those of hub models are not looked at."""
    pictures = [picture for prompt in recipe.image_prompts for picture in prompt.pictures]
    local = [Path(source.location) for source in recipe_sources(recipe) if source.is_local]
    inside = [file for place in local if place.is_dir() for file in place.rglob("*") if file.is_file()]
    return [*inside, *(place for place in local if place.is_file()), *pictures]


def recipe_digest(recipe: Recipe) -> str:
    """A short name for what all files of a recipe hold, and for how strongly each of them counts."""
    base, *parts = recipe_sources(recipe)
    # A recipe that was stored has floats where somebody may have written 1.
    strengths = [
        *(
            (control.kind, float(control.scale), float(control.start), float(control.end))
            for control in recipe.controls
        ),
        *(float(lora.weight) for lora in recipe.loras),
        *(float(prompt.scale) for prompt in recipe.image_prompts),
    ]
    if not parts and not strengths:
        return weights_digest(base)
    pictures = [picture for prompt in recipe.image_prompts for picture in prompt.pictures]
    digests = [weights_digest(source) for source in (base, *parts)]
    digests += [hashlib.sha256(picture.read_bytes()).hexdigest() for picture in pictures]
    return hashlib.sha256("\n".join([*digests, repr(strengths)]).encode()).hexdigest()[:16]

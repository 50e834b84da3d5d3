"""A recipe is plain data: it survives JSON and the command line, and what no model can have is refused."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrender.backbones.recipe import Control, ImagePrompt, Lora, Recipe
from genrender.backbones.recipe_files import recipe_digest, recipe_files
from genrender.backbones.spelling import (
    KINDS,
    control_of,
    control_text,
    image_prompt_text,
    image_prompts_of,
    lora_of,
    lora_text,
)
from genrender.errors import ConfigError, ModelError
from genrender.storage.json_kinds import from_json, misfit

# What files and hub ids are called, colons, commas and numbers included.
SOURCES = st.text("abcd/:.,0129-_= ", min_size=1).map(str.strip).filter(lambda text: text not in ("", "own"))
WEIGHTS = st.floats(-10, 10)


@given(SOURCES, WEIGHTS)
def test_a_lora_is_read_as_it_is_written(source, weight):
    assert lora_of(lora_text(Lora(source, weight))) == Lora(source, weight)


@given(st.sampled_from(KINDS), st.none() | SOURCES, WEIGHTS, st.floats(0, 0.5), st.floats(0.6, 1))
def test_a_control_is_read_as_it_is_written(kind, source, scale, start, end):
    control = Control(kind, source, scale, start, end)
    assert control_of(control_text(control)) == control


@given(SOURCES, WEIGHTS)
def test_an_adapter_is_read_as_it_is_written(source, scale):
    prompt = ImagePrompt(source, (Path("a.png"),), scale)
    assert image_prompts_of([image_prompt_text(prompt)], [Path("a.png")]) == (prompt,)


def test_short_forms():
    assert lora_of("ink.safetensors") == Lora("ink.safetensors", 1.0)
    assert lora_of("C:\\ink.safetensors:0.5") == Lora("C:\\ink.safetensors", 0.5)
    assert control_of("own/er") == Control("depth", "own/er")
    assert control_of("own:0.5") == Control("depth", None, 0.5)
    assert control_of("normal=a=b:0.5,0,0.4") == Control("normal", "a=b", 0.5, 0.0, 0.4)
    assert control_of("./a=b") == Control("depth", "./a=b")


@pytest.mark.parametrize(
    ("read", "text", "fact"),
    [
        (lora_of, ":0.5", "SOURCE"),
        (lora_of, "a:1,2", "SOURCE[:WEIGHT]"),
        (control_of, "depht=a", "no kind 'depht', expected depth, normal"),
        (control_of, "depth=a:1,2", "SCALE[,START,END]"),
        (control_of, "depth=a:1,0.5,0.2", "0 <= start < end <= 1"),
        (control_of, "depth=a:nan", "scale is nan"),
        (lambda text: image_prompts_of([text], []), "a", "0 --ip-image for 1 --ip-adapter"),
        (lambda text: image_prompts_of([], [Path(text)]), "a.png", "no IP-Adapter reads it"),
        (lambda text: image_prompts_of([text, "b"], [Path("a.png")]), "a", "1 --ip-image for 2"),
    ],
)
def test_what_cannot_be_meant_is_refused(read, text, fact):
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert fact in str(refused.value)


def test_a_recipe_survives_json():
    recipe = Recipe(
        controls=(Control("normal", "b", 0.5, 0.1, 0.9),),
        loras=(Lora("l", 0.25),),
        image_prompts=(ImagePrompt("i", (Path("p.png"),), 0.5),),
        sigmas=(14.0, 1.0),
    )
    stored = json.loads(json.dumps(asdict(recipe), default=str))
    assert misfit(stored, Recipe, "recipe") is None
    assert from_json(Recipe, stored) == recipe


def test_the_digest_tells_files_apart_and_all_files_are_listed(tmp_path):
    files = [tmp_path / name for name in ("one.safetensors", "two.safetensors")]
    for file in files:
        file.write_bytes(file.stem.encode())
    picture = tmp_path / "p.png"
    picture.write_bytes(b"p")
    plain = Recipe()
    recipes = [Recipe(loras=(Lora(str(file)),)) for file in files]
    recipes += [Recipe(loras=(Lora(str(files[0]), 0.5),)), Recipe(controls=(Control(scale=0.5),))]
    recipes += [Recipe(embeddings=(str(files[0]), str(files[1])))]
    recipes += [Recipe(image_prompts=(ImagePrompt(str(files[0]), (picture,)),))]
    digests = [recipe_digest(recipe) for recipe in (plain, *recipes)]
    assert len(set(digests)) == len(digests)
    assert recipe_digest(plain) == digests[0]
    files[0].write_bytes(b"other")
    assert recipe_digest(recipes[0]) != digests[1]
    assert {*recipe_files(recipes[-1])} >= {files[0], picture}
    # Whole numbers come back from a file as floats.
    whole = Recipe(loras=(Lora(str(files[0]), 1),), controls=(Control(scale=1, start=0, end=1),))
    stored = json.loads(json.dumps(asdict(whole)))
    assert recipe_digest(from_json(Recipe, stored)) == recipe_digest(whole)
    with pytest.raises(ModelError, match="unknown LoRA"):
        recipe_digest(Recipe(loras=(Lora("./no.safetensors"),)))


@pytest.mark.parametrize(
    ("recipe", "fact"),
    [
        (Recipe(controls=(Control(end=0.0),)), "it steers from 0 to 0"),
        (Recipe(loras=(Lora("a", float("nan")),)), "weight is nan"),
        (Recipe(image_prompts=(ImagePrompt("a", (Path("no.png"),)),)), "there is no picture no.png"),
        (Recipe(timesteps=(9,), sigmas=(1.0,)), "expected one of them"),
    ],
)
def test_settings_that_no_model_can_have(recipe, fact):
    with pytest.raises(ConfigError) as refused:
        recipe.check()
    assert fact in str(refused.value)

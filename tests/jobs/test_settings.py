"""Settings by name: every one can be set, and what cannot is said."""

from pathlib import Path

import pytest

from genrender.config import PRESETS, RunConfig
from genrender.errors import ConfigError
from genrender.jobs.settings import change_setting, setting_names

CONFIG = RunConfig(prompt="a fox")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("noise.mode=nearest", "nearest"),
        ("noise.texture_side=64", 64),
        ("noise.texture_side=none", None),
        ("noise.degradation=0.25", 0.25),
        ("noise.every_step=false", False),
        ("correspondence.engine=reproject", "reproject"),
        ("injection.alpha=1", 1.0),
        ("injection.alpha_end=0.4", 0.4),
        (" injection.deduplicate = True ", True),
        ("injection.layers=^mid|^up", "^mid|^up"),
        ("latents.normalise=none", "none"),
        ("correspondence.ratio_layers=^up=0.5", (("^up", 0.5),)),
        ("correspondence.side_layers=up_blocks.1 = 64; (?=mid)=32", (("up_blocks.1", 64), ("(?=mid)", 32))),
        ("injection.alpha_layers=none", ()),
        ("latents.synchronise=0.5", 0.5),
    ],
)
def test_a_setting_takes_a_value_of_its_kind(text, value):
    stage, name = text.split("=")[0].strip().split(".")
    changed = change_setting(CONFIG, text)
    found = getattr(getattr(changed.method, stage), name)
    assert found == value
    assert type(found) is type(value)
    assert change_setting(changed, text) == changed


def test_every_setting_is_listed_and_can_be_set_to_what_it_is():
    for full_name in setting_names(CONFIG.method):
        stage, name = full_name.split(".")
        value = getattr(getattr(CONFIG.method, stage), name)
        text = "none" if value == () else str(value)
        assert change_setting(CONFIG, f"{full_name}={text}") == CONFIG
    assert {"noise.mode", "injection.alpha_layers", "latents.normalise"} <= set(setting_names(CONFIG.method))


def test_the_documentation_tells_every_setting_and_its_default():
    """Of the preset that runs where none is named; words such as `chosen per frame` stand for none."""
    rows = [
        [part.strip() for part in line.split("|")[1:3]]
        for line in (Path(__file__).parents[2] / "docs" / "settings.md").read_text().splitlines()
        if line.startswith("| `") and "." in line.split("|")[1]
    ]
    told = {name.strip("`"): default for name, default in rows}
    balanced = PRESETS["balanced"]
    assert set(told) == set(setting_names(balanced.method))
    for full_name, default in told.items():
        stage, name = full_name.split(".")
        value = getattr(getattr(balanced.method, stage), name)
        if isinstance(value, bool | float) or name in ("mode", "engine", "unify", "keyframes", "normalise"):
            assert change_setting(balanced, f"{full_name}={default}") == balanced, full_name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noise.mode", "has no value"),
        ("noise.color=red", r"no setting 'noise.color', expected STAGE\.NAME=VALUE with one of noise\.mode"),
        ("alpha=1", "no setting 'alpha'"),
        ("noise.mode=loud", "'loud', expected partition or bridge"),
        ("injection.alpha=much", "'much', expected a number"),
        ("noise.every_step=1", "'1', expected true or false"),
        ("injection.alpha_layers=up", "'up', expected PATTERN=NUMBER with a number"),
        ("injection.alpha_layers==0.5", "expected PATTERN=NUMBER"),
        ("correspondence.side_layers=up=0.5", "expected PATTERN=NUMBER with a whole number"),
        ("injection.n_keyframes=2.5", "'2.5', expected a whole number or none"),
    ],
)
def test_what_cannot_be_set_is_said(text, message):
    with pytest.raises(ConfigError, match=message):
        change_setting(CONFIG, text)

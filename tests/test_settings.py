"""Settings by name: every one can be set, and what cannot is said."""

import pytest

from genrender.config import RunConfig
from genrender.errors import ConfigError
from genrender.settings import change_setting, setting_names

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
        ("latents.synchronise=0.5", 0.5),
    ],
)
def test_a_setting_takes_a_value_of_its_kind(text, value):
    stage, name = text.split("=")[0].strip().split(".")
    changed = change_setting(CONFIG, text)
    found = getattr(getattr(changed.method, stage), name)
    assert found == value
    assert type(found) is type(value)
    assert change_setting(changed, f"{stage}.{name}={value}") == changed


def test_every_setting_that_a_text_can_hold_is_listed():
    names = setting_names(CONFIG.method)
    assert {"noise.mode", "injection.keyframes", "latents.normalise"} <= set(names)
    assert "injection.alpha_layers" not in names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noise.mode", "has no value"),
        ("noise.color=red", r"no setting 'noise.color', expected STAGE\.NAME=VALUE with one of noise\.mode"),
        ("alpha=1", "no setting 'alpha'"),
        ("noise.mode=loud", "'loud', expected partition or nearest"),
        ("injection.alpha=much", "'much', expected a number"),
        ("noise.every_step=1", "'1', expected true or false"),
        ("injection.n_keyframes=2.5", "'2.5', expected a whole number or none"),
    ],
)
def test_what_cannot_be_set_is_said(text, message):
    with pytest.raises(ConfigError, match=message):
        change_setting(CONFIG, text)

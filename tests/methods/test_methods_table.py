"""The table of methods: names without torch, settings that hold, attention classes that exist."""

import subprocess
import sys
from typing import get_args

import pytest

from genrender.evaluation.studies import STUDIES, StudyName
from genrender.injection.state import AttentionState
from genrender.methods.table import EVERY_METHOD, METHOD_OPTIONS, METHODS, VARIANTS, MethodName


def test_the_command_line_knows_every_method_and_every_study():
    assert get_args(MethodName) == tuple(METHODS)
    assert get_args(StudyName) == tuple(STUDIES)


@pytest.mark.parametrize("name", EVERY_METHOD)
def test_settings_hold_and_attention_is_there(name: str):
    method = EVERY_METHOD[name]
    method.settings.check()
    assert issubclass(method.attention, AttentionState)
    assert (method.attention is AttentionState) == (method.rival is None)
    assert method.options <= METHOD_OPTIONS


def test_a_variant_changes_ours():
    settings = [method.settings for method in VARIANTS.values()]
    assert not METHODS.keys() & VARIANTS.keys()
    assert all(mine not in settings[:place] for place, mine in enumerate(settings))


def test_baselines_have_nothing_that_makes_frames_agree_but_their_noise():
    noises = {"per-frame": "independent", "fixed-noise": "fixed", "surface-noise": "partition"}
    for name, mode in noises.items():
        settings = METHODS[name].settings
        assert (settings.injection.pre_attn, settings.injection.alpha) == (False, 0)
        assert settings.latents.synchronise == 0
        assert settings.noise.mode == mode


def test_names_need_no_torch_and_no_numpy():
    code = (
        "import sys; import genrender.options.commands; print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]

"""Settings by name mean what the options of the command line mean, both ways."""

from pathlib import Path

import pytest

from genrender.cli import parse
from genrender.errors import ConfigError
from genrender.jobs.job import RenderJob
from genrender.jobs.words import job_words
from genrender.options.commands import Render
from genrender.options.given import given
from genrender.options.job import render_job
from genrender.options.settings import NO_SETTINGS, job_of, setting_groups, settings_of, settings_of_words

ASKED = {
    "prompt": "a red fox, (blue:1.2)=x",
    "frames": 24,
    "size": "128x64",
    "start": "3",
    "loop": True,
    "camera": "orbit,35mm",
    "ignore": ["Ground", "Helper*"],
    "merge": ["Wheel*=Wheels"],
    "prompt_for": ["Fox=a bronze fox"],
    "prompt_at": ["12=a fox in snow"],
    "backdrop": "#204060",
    "guidance": 2.5,
    "lora": ["ink.safetensors:0.8"],
    "set": ["injection.alpha_end=0.4"],
    "lock": 0.5,
    "method": "per-frame",
}


def test_every_option_of_render_is_a_setting_with_a_line_about_it():
    named = {setting.name: setting for group in setting_groups() for setting in group.settings}
    options = {name for name, _ in given(Render(Path("x.glb"), "a fox"))}
    assert named.keys() == options - NO_SETTINGS
    assert all(setting.about and setting.about != setting.name for setting in named.values())


def test_settings_make_the_job_of_the_same_command_line():
    words = [
        *(
            "render",
            "fox.glb",
            "--prompt",
            ASKED["prompt"],
            "--frames",
            "24",
            "--size",
            "128x64",
            "--start",
            "3",
        ),
        *(
            "--loop",
            "--camera",
            "orbit,35mm",
            "--ignore",
            "Ground",
            "--ignore",
            "Helper*",
            "--backdrop",
            "#204060",
        ),
        *("--merge", "Wheel*=Wheels", "--prompt-for", "Fox=a bronze fox", "--prompt-at", "12=a fox in snow"),
        *("--guidance", "2.5", "--lora", "ink.safetensors:0.8", "--set", "injection.alpha_end=0.4"),
        *("--lock", "0.5", "--method", "per-frame"),
    ]
    options = parse(words)
    job = render_job(options)
    assert job_of(ASKED, Path("fox.glb")) == job
    assert settings_of(options) == ASKED
    assert settings_of_words(words) == ASKED


def test_a_job_s_own_words_lead_back_to_its_settings():
    job = job_of(ASKED, Path("fox.glb"))
    again = settings_of_words(job_words(job, Path("runs/x")))
    assert again == ASKED
    assert isinstance(job, RenderJob)
    assert job_of(again, Path("fox.glb")) == job


def test_numbers_may_stand_where_texts_do_and_null_is_the_default():
    one = job_of({"prompt": "x", "size": 64, "start": 3, "frames": None, "seed": None}, Path("x.glb"))
    assert one == job_of({"prompt": "x", "size": "64", "start": "3"}, Path("x.glb"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"frames": True}, "frames is true, expected a whole number or null"),
        ({"frames": 2.5}, "frames is 2.5"),
        ({"ignore": "Ground"}, "ignore is .*, expected a list"),
        ({"out": "/tmp/x.mp4"}, "there is no setting 'out'"),
        ({"allow_pickle": True}, "there is no setting 'allow_pickle'"),
        ({"merge": ["x"]}, "--merge 'x': expected PATTERN=NAME"),
        ({"prompt": "\ud800"}, "prompt is .* no valid text"),
        ({"preset": "best"}, 'preset is "best", expected balanced or fast'),
    ],
)
def test_what_is_no_setting_is_told(settings, words):
    with pytest.raises(ConfigError, match=words):
        job_of({"prompt": "x", **settings}, Path("x.glb"))


@pytest.mark.parametrize(
    "words", [[], ["render", "x.glb"], ["x", "--prompt"], ["x", "--prompt=a", "--frames", "many"]]
)
def test_words_that_made_no_video_are_told(words):
    with pytest.raises(ConfigError):
        settings_of_words(words)

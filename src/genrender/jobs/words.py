"""A job as the command line that asks for it, so that every run says how it can be made again."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from genrender.jobs.job import RenderJob
from genrender.scene.objects import ObjectRule
from genrender.shots.clip import ShotConfig

# Options whose name is another than their field's.
_FLAGS = {"n_frames": "frames", "settings": "set", "times_s": "times"}
# Fields that are no option as they are.
_SPECIAL = ("clip", "prompt", "out", "size", "objects", "object_prompts", "background_color")


def job_words(job: RenderJob, folder: Path) -> list[str]:
    """The words after `genrender` that make this job's run: everything that differs from the default.

    Where the video goes beside the run folder is left out: it is nothing that the run depends on.
    """
    clip, objects = job.clip, job.clip.shot.objects
    size = clip.size if clip.size is None or isinstance(clip.size, int) else "x".join(map(str, clip.size))
    color = None if job.background_color is None else "#" + bytes(job.background_color).hex()
    return [
        *("render", str(clip.scene), f"--prompt={job.prompt}"),
        *_changed(clip.shot),
        *_words("size", size),
        *_words("exr-map", clip.exr_map),
        *_changed(job),
        *_words("prompt-for", *(f"{name}={text}" for name, text in job.object_prompts)),
        *_words("backdrop", color),
        *_words("objects", None if objects.by == ObjectRule.by else objects.by),
        *_words("merge", *(f"{pattern}={name}" for pattern, name in objects.merge)),
        *_words("ignore", *objects.ignore),
        *_words("allow-folder", *clip.allow_folder),
        f"--run-dir={folder}",
    ]


def same_words(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two command lines ask for the same: only the order of words of one option counts."""
    return _sorted(one) == _sorted(other)


def _sorted(words: Sequence[str]) -> list[str]:
    return sorted(words, key=lambda word: word.partition("=")[0])


def _words(flag: str, *values: object) -> list[str]:
    return [f"--{flag}={value}" for value in values if value is not None]


def _changed(part: ShotConfig | RenderJob) -> list[str]:
    """The words for fields that are options as they are, where they differ from the default."""
    words = []
    for one in fields(part):
        value = getattr(part, one.name)
        if one.name in _SPECIAL or value == one.default:
            continue
        flag = _FLAGS.get(one.name, one.name.replace("_", "-"))
        words += (
            [f"--{flag}"]
            if value is True
            else _words(flag, *(value if isinstance(value, tuple) else (value,)))
        )
    return words

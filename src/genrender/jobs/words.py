"""A job as the command line that asks for it, so that every run says how it can be made again."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from genrender.backbones.recipe import Recipe
from genrender.backbones.spelling import control_text, image_prompt_text, lora_text
from genrender.jobs.job import RenderJob
from genrender.scene.objects import ObjectRule
from genrender.shots.clip import ShotConfig

# Options whose name is another than their field's.
_FLAGS = {"n_frames": "frames", "settings": "set", "times_s": "times"}
# Fields that are no option as they are.
_SPECIAL = (
    *("clip", "prompt", "out", "size", "objects", "object_prompts", "prompts_at"),
    *("background_color", "recipe"),
)


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
        *_words("prompt-at", *(f"{frame}={text}" for frame, text in job.prompts_at)),
        *_recipe_words(job.recipe),
        *_words("backdrop", color),
        *_words("objects", None if objects.by == ObjectRule.by else objects.by),
        *_words("merge", *(f"{pattern}={name}" for pattern, name in objects.merge)),
        *_words("ignore", *objects.ignore),
        *_words("allow-folder", *clip.allow_folder),
        f"--run-dir={folder}",
    ]


def _recipe_words(recipe: Recipe) -> list[str]:
    standard = Recipe()
    return [
        *_words("model", None if recipe.base == standard.base else recipe.base),
        *_words("revision", recipe.revision),
        *_words("variant", recipe.variant),
        *_words("vae", recipe.vae),
        *_words("controlnet", *map(control_text, recipe.controls)),
        *_words("lora", *map(lora_text, recipe.loras)),
        *_words("embedding", *recipe.embeddings),
        *_words("ip-adapter", *map(image_prompt_text, recipe.image_prompts)),
        *_words("ip-image", *(picture for prompt in recipe.image_prompts for picture in prompt.pictures)),
        *_words("motion-adapter", recipe.motion_adapter),
        *_words("scheduler", recipe.sampler),
        *_words("timesteps", ",".join(map(str, recipe.timesteps)) or None),
        *_words("sigmas", ",".join(map(repr, recipe.sigmas)) or None),
        *_words("dtype", recipe.precision),
        *_words("device", recipe.device),
        *_words("offload", None if recipe.placement == standard.placement else recipe.placement),
        *([] if recipe.safety_checker else ["--no-safety-checker"]),
        *(["--allow-pickle"] if recipe.allow_pickle else []),
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

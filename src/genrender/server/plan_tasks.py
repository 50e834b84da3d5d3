"""What a helper does before a run: everything that is quick to check, what models know, and unknown words."""

import re
from pathlib import Path
from typing import Any

from genrender.backbones.inspect import inspect_model
from genrender.backbones.sources import find_model, read_guidance_scale, read_vocabulary
from genrender.backbones.suggest import nearest_word
from genrender.errors import GenRenderError
from genrender.jobs.job import job_from_json
from genrender.jobs.plan import plan
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import RunHooks
from genrender.train.vocabulary import vocabulary_groups

# A word of a prompt, as `genrender.backbones.sources.unknown_words` has them.
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def check(job: dict[str, Any], folder: str) -> tuple[Any, bytes]:
    """What the command line would say before it begins.

    Args:
        job: what is asked for.
        folder: where the run would go.

    Returns:
        `error` is None where nothing is wrong; then there are the clip's frames, rate and size, the number of
        steps, and the bytes on the disk.
    """
    notes, warnings = list[str](), list[str]()
    told: dict[str, Any] = {"error": None, "notes": notes, "warnings": warnings}
    try:
        made = plan(job_from_json(job), RunFolder(folder), RunHooks(notes.append, warnings.append))
    except GenRenderError as error:
        return {**told, "error": " ".join(str(error).splitlines())}, b""
    return {
        **told,
        "n_frames": made.shot.n_frames,
        "fps": made.shot.fps,
        "width": made.shot.width,
        "height": made.shot.height,
        "steps": made.config.n_steps,
        "disk_bytes": made.disk_bytes,
    }, b""


def words(model: str, text: str) -> tuple[Any, bytes]:
    """Words of a text that a model says it does not know, with where they stand and what is near to them."""
    source = find_model(model)
    vocabulary = read_vocabulary(source.location) if source.is_local and not source.is_file else None
    if vocabulary is None:
        return {"unknown": []}, b""
    unknown = [
        {
            "word": found[0],
            "start": _utf16_length(text[: found.start()]),
            "end": _utf16_length(text[: found.end()]),
            "suggestion": nearest_word(found[0].lower(), vocabulary),
        }
        for found in _WORD.finditer(text)
        if found[0].lower() not in vocabulary and not found[0].isdecimal()
    ]
    return {"unknown": unknown}, b""


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def models(names: list[str]) -> tuple[Any, bytes]:
    """What models are and know; of those that cannot be looked at, why."""
    return [_model(name) for name in names], b""


def _model(name: str) -> dict[str, Any]:
    try:
        found = inspect_model(name)
    except GenRenderError as error:
        return {
            "name": name,
            "title": name,
            "picture_size": None,
            "guidance": None,
            "words": None,
            "note": str(error),
        }
    groups = None
    if found["vocabulary"] is not None:
        known = set(found["vocabulary"])
        groups = {group: [w for w in members if w in known] for group, members in vocabulary_groups().items()}
        grouped = {word for members in groups.values() for word in members}
        groups |= {"others": sorted(known - grouped)} if known - grouped else {}
    location = Path(found["location"])
    return {
        "name": name,
        "title": found["title"],
        "picture_size": found["picture_size"],
        "guidance": read_guidance_scale(location if location.is_dir() else None),
        "words": groups,
        "note": None,
    }

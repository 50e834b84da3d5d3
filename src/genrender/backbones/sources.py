"""Where the weights of a named model are: the packaged pocket model, Stable Diffusion 1.5, a folder, the hub.

Nothing here loads weights; `genrender.pipeline.load_pipeline` does, with what it finds here.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import genrender
from genrender.backbones.prompt_weights import plain_text
from genrender.errors import ModelError
from genrender.storage.untrusted import read_json

POCKET_FOLDER = Path(genrender.__file__).parent / "models" / "pocket"
SD15_HUB_ID = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SD15_GUIDANCE_SCALE = 7.5
MAX_VIDEO_SCALE = 4

PART = "a folder in diffusers' layout, a .safetensors file, or a hub id such as owner/name"
AVAILABLE = "pocket, sd15, a folder in diffusers' layout, a .safetensors file, or a hub id such as owner/name"


# A hub id, perhaps with the name of a file in that repository.
HUB_NAME = re.compile(r"(?P<id>[\w-][\w.-]*/[\w.-]+)(?:/(?P<file>[\w./ -]+))?")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".ckpt", ".pt", ".pth")
# Commits of hub models that are known by name here, so that a run means the same next year. They are the ones
# that public projects name; nobody has fetched them for this project yet.
PINNED = {
    SD15_HUB_ID: "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    "lllyasviel/control_v11f1p_sd15_depth": "539f99181d33db39cf1af2e517cd8056785f0a87",
    "stabilityai/stable-diffusion-xl-base-1.0": "462165984030d82259a11f4367a4eed129e94a7b",
    "diffusers/controlnet-depth-sdxl-1.0": "17bb97973f29801224cd66f192c5ffacf82648b4",
}


@dataclass(frozen=True)
class ModelSource:
    """Where files of a model, or of one of its networks, are.

    Attributes:
        location: folder, single file or hub id.
        is_local: the user named no hub model: the network must not be touched.
        revision: branch, tag or commit of a hub model; None: `main`.
        allow_pickle: whether weights may lie in pickles, which can run code when they are read.
    """

    location: str
    is_local: bool
    revision: str | None = None
    allow_pickle: bool = False

    @property
    def is_file(self) -> bool:
        """Whether all networks are in one file."""
        return self.is_local and not Path(self.location).is_dir()


def find_model(model: str, revision: str | None = None, allow_pickle: bool = False) -> ModelSource:
    """Where the model of a given name is.

    Args:
        model: `pocket`, `sd15`, a local folder, a single file or a hub id.
        revision: of a hub model; None: the pinned one, else `main`.
        allow_pickle: whether weights may lie in pickles.

    Raises:
        ModelError: there is no such model; the message lists what there is.

    Example:
        >>> find_model("sd15").location
        'stable-diffusion-v1-5/stable-diffusion-v1-5'
    """
    if model == "pocket":
        if not (POCKET_FOLDER / "model_index.json").is_file():
            raise ModelError(
                f"model pocket: {POCKET_FOLDER} holds no model_index.json, expected the packaged weights: "
                "reinstall genrender, train them with `genrender train pocket`, or choose another --model"
            )
        source = ModelSource(str(POCKET_FOLDER), is_local=True)
    elif model == "sd15":
        source = ModelSource(SD15_HUB_ID, False, revision or PINNED[SD15_HUB_ID], allow_pickle)
    else:
        source = find_files("model", model, revision, allow_pickle, AVAILABLE)
    if revision is not None and source.is_local:
        raise ModelError(f"model {model} is on this machine and has no revision {revision}; leave it out")
    return source


def find_files(
    what: str, name: str, revision: str | None = None, allow_pickle: bool = False, expected: str = PART
) -> ModelSource:
    """A folder, a single file or a hub model by its name.

    Args:
        what: the kind of thing, as messages call it.
        name: of the folder or file, or the hub id.
        revision: of a hub model; None: the pinned one, else `main`.
        allow_pickle: whether weights may lie in pickles.
        expected: what messages list.

    Raises:
        ModelError: it is none of these.
    """
    if name and Path(name).exists():
        return ModelSource(name, True, allow_pickle=allow_pickle)
    hub = HUB_NAME.fullmatch(name)
    # "weights/mine" may be a folder that is missing or a hub id; where weights/ exists, a folder was meant.
    is_hub_id = hub is not None and not Path(name.split("/")[0]).is_dir()
    # Of hub models only what is added to a model lies in a file: owner/name/models/a.safetensors.
    has_file = hub is not None and hub["file"] is not None
    is_file_name = name.endswith(WEIGHT_SUFFIXES)
    if not is_hub_id or is_file_name != has_file or (has_file and what == "model"):
        raise ModelError(f"unknown {what} {name!r}, expected {expected}{_near(name)}")
    return ModelSource(name, False, revision or PINNED.get(name), allow_pickle)


def _near(name: str) -> str:
    """What there is in the folder that was named, where the last part of the name is wrong."""
    parent = Path(name).parent
    if not name or parent == Path() or not parent.is_dir():
        return ""
    there = sorted(entry.name for entry in parent.iterdir() if _may_be_model(entry))
    if not there:
        return f"; {parent} holds none"
    more = f" and {len(there) - 6} more" if len(there) > 6 else ""
    return f"; {parent} holds {', '.join(there[:6])}{more}"


def _may_be_model(entry: Path) -> bool:
    return (
        entry.suffix == ".safetensors"
        or (entry / "config.json").is_file()
        or (entry / "model_index.json").is_file()
    )


def read_vocabulary(folder: str | Path) -> frozenset[str] | None:
    """The words that the model in `folder` knows, in lower case; None if it says nothing about that.

    Raises:
        ModelError: `vocabulary.json` is no list of words.
    """
    path = Path(folder) / "vocabulary.json"
    if not path.is_file():
        return None
    try:
        words = read_json(path, ModelError, "a list of words: restore the file")
    except FileNotFoundError as error:
        raise ModelError(f"{path} is gone: restore the file") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ModelError(f"{path}: expected a JSON list of words: restore the file")
    return frozenset(word.lower() for word in words)


def read_guidance_scale(folder: str | Path | None) -> float:
    """The guidance that the model in `folder` was made for, in its `genrender.json`; else Stable Diffusion's.

    Args:
        folder: None where the networks came from no folder.

    Raises:
        ModelError: the file does not hold a number of that name.
    """
    path = Path(folder or "") / "genrender.json"
    if not folder or not path.is_file():
        return SD15_GUIDANCE_SCALE
    try:
        return float(read_json(path, ModelError, "the model's settings: restore the file")["guidance_scale"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: expected a JSON object with a number guidance_scale: restore the file"
        ) from error


def video_scale(folder: str | Path | None, width: int, height: int) -> int:
    """How many times larger than its frames a model's video is shown.

    A model of small pictures says in its `genrender.json`, as `video_side`, how many pixels the longer side
    of a video should have at least. Others are shown as they are.

    Args:
        folder: of the model; None where the networks came from no folder.
        width: of its frames, in pixels.
        height: likewise.

    Returns:
        1 to 4.

    Raises:
        ModelError: the file cannot be used.
    """
    path = Path(folder or "") / "genrender.json"
    if not folder or not path.is_file():
        return 1
    facts = read_json(path, ModelError, "a JSON object")
    side = facts.get("video_side", 0) if isinstance(facts, dict) else None
    if not isinstance(side, int):
        raise ModelError(f"{path}: expected a whole number video_side: restore the file")
    return min(max(1, -(-side // max(width, height))), MAX_VIDEO_SCALE)


def unknown_words(prompt: str, vocabulary: Collection[str]) -> list[str]:
    """Words of a prompt that are not in the vocabulary: lower case, in order, each once. No weights.

    Example:
        >>> unknown_words("A red dragon, a red dragon!", {"a", "red"})
        ['dragon']
    """
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)?", plain_text(prompt).lower())
    return [word for word in dict.fromkeys(words) if word not in vocabulary]


# Reading more than this to tell one set of weights from another takes longer than it is worth.
_DIGEST_BYTES = 1_000_000_000
# Settings decide as much as weights do, for instance what a UNet predicts.
_COUNTED = (*WEIGHT_SUFFIXES, ".json", ".txt")


def weights_digest(source: ModelSource) -> str:
    """A short name for a model's weights and settings; of hub models, and large files, for their names."""
    if not source.is_local:
        return source.location if source.revision is None else f"{source.location}@{source.revision}"
    digest = hashlib.sha256()
    location = Path(source.location)
    # What a single file does not tell of itself may lie beside it.
    files = [location, *filter(Path.is_file, [location.with_suffix(".yaml")])]
    if not source.is_file:
        files = sorted(file for file in location.rglob("*") if file.suffix in _COUNTED and file.is_file())
    is_small = sum(file.stat().st_size for file in files) <= _DIGEST_BYTES
    for file in files:
        # In a folder the name says what a file is; a file of another name is the same file.
        digest.update(b"" if source.is_file else file.relative_to(location).as_posix().encode())
        about = file.stat()
        digest.update(file.read_bytes() if is_small else f"{about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]

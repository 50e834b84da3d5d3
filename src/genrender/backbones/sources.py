"""Where the weights of a named model are: the packaged pocket model, Stable Diffusion 1.5, a folder, the hub.

Nothing here loads weights; `genrender.pipeline.load_pipeline` does, with what it finds here.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import genrender
from genrender.backbones.hub import hub_file
from genrender.backbones.prompt_weights import plain_text
from genrender.errors import ModelError
from genrender.storage.untrusted import read_json

POCKET_FOLDER = Path(genrender.__file__).parent / "models" / "pocket"
SD15_HUB_ID = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SD15_GUIDANCE_SCALE = 7.5
MAX_VIDEO_SCALE = 4
SD15_DEPTH_CONTROLNET = "lllyasviel/control_v11f1p_sd15_depth"

# Folder layouts, by the class in model_index.json, that hold a VAE, one CLIP text encoder and a UNet.
SUPPORTED_PIPELINES = (
    "GenerativeRenderingPipeline",
    "StableDiffusionControlNetPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionPipeline",
)
AVAILABLE = "pocket, sd15, a folder that holds model_index.json, or a hub id such as owner/name"


@dataclass(frozen=True)
class ModelSource:
    """Where a model's components come from.

    Attributes:
        location: folder or hub id of the pipeline.
        controlnet: folder or hub id of a ControlNet that `location` lacks; None if `location` may carry one.
        is_local: the user named no hub model: the network must not be touched.
    """

    location: str
    controlnet: str | None
    is_local: bool


def find_model(model: str, controlnet: str | None = None) -> ModelSource:
    """Where the model of a given name is.

    Args:
        model: `pocket`, `sd15`, a local folder or a hub id.
        controlnet: folder or hub id of a ControlNet to use instead of the model's own.

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
        return ModelSource(str(POCKET_FOLDER), controlnet, is_local=True)
    if model == "sd15":
        return ModelSource(SD15_HUB_ID, controlnet or SD15_DEPTH_CONTROLNET, is_local=False)
    if model and Path(model).is_dir():
        return ModelSource(model, controlnet, is_local=True)
    # "weights/mine" may be a folder that is missing or a hub id; where weights/ exists, a folder was meant.
    is_hub_id = re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", model) is not None and not Path(model).parent.is_dir()
    if not is_hub_id:
        raise ModelError(f"unknown model {model!r}, expected {AVAILABLE}")
    return ModelSource(model, controlnet, is_local=False)


def read_model_index(source: ModelSource) -> dict[str, Any]:
    """The list of components that a pipeline's folder or hub repository declares.

    Raises:
        ModelError: there is none, it declares networks that the method cannot drive, or a component that
            it declares has no folder.
    """
    path = Path(source.location) / "model_index.json"
    if not source.is_local:
        path = hub_file(source.location, "model_index.json")
    if not path.is_file():
        raise ModelError(f"model {source.location}: it holds no model_index.json, expected {AVAILABLE}")
    model_index = read_json(path, ModelError, "the list of a model's networks: get the model anew")
    kind = model_index.get("_class_name") if isinstance(model_index, dict) else None
    if kind not in SUPPORTED_PIPELINES:
        raise ModelError(
            f"model {source.location}: its model_index.json names a {kind}, expected one of "
            f"{', '.join(SUPPORTED_PIPELINES)}: choose a Stable Diffusion 1.x model with a depth ControlNet"
        )
    if source.is_local:
        _check_folders(source, model_index)
    return model_index


def _check_folders(source: ModelSource, model_index: dict[str, Any]) -> None:
    # transformers would make up a tokenizer that knows no words where the folder holds none.
    declared = [name for name, kind in model_index.items() if isinstance(kind, list) and any(kind)]
    if source.controlnet is not None and "controlnet" in declared:
        declared.remove("controlnet")
    lacking = [name for name in declared if not Path(source.location, name).is_dir()]
    if lacking:
        raise ModelError(
            f"model {source.location}: its model_index.json names {', '.join(lacking)}, for which there is "
            "no folder: get the model anew"
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


def weights_digest(source: ModelSource) -> str:
    """A short name for a model's weights; of hub models, and of large files, for what they are called."""
    if not source.is_local:
        return source.location
    digest = hashlib.sha256()
    files = sorted(Path(source.location).rglob("*.safetensors"))
    is_small = sum(file.stat().st_size for file in files) <= _DIGEST_BYTES
    for file in files:
        digest.update(str(file.relative_to(source.location)).encode())
        about = file.stat()
        digest.update(file.read_bytes() if is_small else f"{about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]

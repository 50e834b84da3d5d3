"""What a run's `config.json` says, as far as anything reads it again; every entry is checked first."""

from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from genrender.errors import MediaError
from genrender.gbuffer.exr.channels import DepthKind
from genrender.scene.backdrop import BackdropKind
from genrender.scene.choices import ObjectsBy, UvMode
from genrender.storage.json_kinds import Range, misfit
from genrender.storage.limits import MAX_FPS, MAX_FRAMES, MAX_SIDE, MAX_TIME_S, MIN_FPS
from genrender.storage.untrusted import read_json

Index = Annotated[int, Range(0, 2**31 - 1)]
Side = Annotated[int, Range(1, MAX_SIDE)]


class Objects(TypedDict):
    """An `ObjectRule`."""

    by: ObjectsBy
    merge: list[tuple[str, str]]
    ignore: list[str]


class Cost(TypedDict):
    """What the run took."""

    seconds_per_frame: float
    peak_memory_mb: float | None
    gpu_peak_memory_mb: float | None


class Passes(TypedDict):
    """An `ExrMap`."""

    depth: str | None
    u: str | None
    v: str | None
    object: str | None
    depth_is: DepthKind
    yfov_deg: float | None
    v_up: bool | None


class Settings(TypedDict):
    """What the frames were made of; the file holds more, for people."""

    scene: str
    animation_index: Index | None
    camera: str | None
    loop: bool
    backdrop: BackdropKind
    uv: UvMode
    objects: Objects
    width: Side
    height: Side
    fps: Annotated[float, Range(MIN_FPS, MAX_FPS)]
    n_frames: Annotated[int, Range(1, MAX_FRAMES)]
    times_s: list[Annotated[float, Range(-MAX_TIME_S, MAX_TIME_S)]]
    atlas_ids: dict[str, list[Index]]
    prompt: str
    n_steps: int
    sampler: str
    device: str
    cost: Cost
    exr_map: NotRequired[Passes]
    exr_frames: NotRequired[list[int]]
    # Of runs that the command line made.
    model: NotRequired[str]
    weights: NotRequired[str]


class Request(TypedDict):
    """What an unfinished run was asked for."""

    request: dict[str, Any]
    versions: dict[str, str]
    command: list[str]
    working_directory: str
    checksum: str


class RunRecord(TypedDict):
    """The whole file."""

    config: Settings
    seed: int
    command: list[str]
    created: str
    versions: dict[str, str]


def read_record(file: Path) -> dict[str, Any]:
    """What a finished run's `config.json` holds, with at least the entries of `RunRecord`.

    Raises:
        MediaError: there is none, or an entry is missing or of another kind; it says which.
    """
    expected = "what a run of genrender writes: render the run again"
    try:
        # Schedulers have settings that are infinite, which earlier versions wrote as they are.
        record = read_json(file, MediaError, expected, allow_infinity=True)
    except FileNotFoundError as error:
        raise MediaError(f"{file.parent} is no run folder: it holds no {file.name}") from error
    wrong = misfit(record, RunRecord, "")
    if wrong is None and "exr_map" in record["config"] and not record["config"].get("exr_frames"):
        wrong = "config.exr_frames is missing"
    if wrong is not None:
        what = wrong if isinstance(record, dict) else "it holds no entries"
        raise MediaError(f"{file}: {what}; it is damaged, or of another version: render the run again")
    return record

"""What the API answers, as OpenAPI tells it. Answers are plain values, which the tests hold against this."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from genrender.server.database import State


class Answer(BaseModel):
    """Nothing but these entries."""

    model_config = ConfigDict(extra="forbid")


class Error(Answer):
    """Why a request was refused, and the setting that it is about."""

    error: str
    field: str | None


class Limits(Answer):
    """How much is taken at once."""

    upload_bytes: int
    upload_files: int
    frames: int
    side: int
    steps: int
    queued: int


class About(Answer):
    """What a server is; devices and limits only for whoever may ask."""

    version: str
    needs_token: bool
    is_allowed: bool
    devices: list[str] | None = None
    limits: Limits | None = None


class Setting(Answer):
    """An option of `genrender render`."""

    name: str
    kind: Literal["text", "integer", "number", "flag", "choice", "texts"]
    default: Any
    default_text: str | None
    about: str
    choices: list[str] | None
    example: str | None


class SettingGroup(Answer):
    """Options that belong together."""

    name: str
    title: str
    folded: bool
    settings: list[Setting]


class Settings(Answer):
    """All options."""

    groups: list[SettingGroup]


class Model(Answer):
    """A model, and the words that it knows where it says so."""

    name: str
    title: str
    picture_size: list[int] | None
    guidance: float | None
    words: dict[str, list[str]] | None
    note: str | None


class PresetSettings(Answer):
    """What a preset means for the settings that most look at."""

    steps: int
    scheduler: str | None
    guidance: float | None


class Preset(Answer):
    """A preset."""

    name: str
    settings: PresetSettings


class Method(Answer):
    """A way to make frames agree."""

    name: str
    about: str


class Models(Answer):
    """Everything that settings may name."""

    models: list[Model]
    sources: list[str]
    presets: list[Preset]
    schedulers: list[str]
    methods: list[Method]


class Picture(Answer):
    """A reference picture."""

    id: str
    name: str
    width: int
    height: int


class SceneSummary(Answer):
    """A scene."""

    id: str
    name: str
    added: str
    bytes: int
    kind: Literal["scene", "exr"]


class Scene(SceneSummary):
    """A scene with what it holds: `report` is that of `genrender inspect --json`."""

    report: dict[str, Any]
    left_out: list[str]
    notes: list[str]


class Scenes(Answer):
    """All scenes."""

    scenes: list[SceneSummary]


class Shot(Answer):
    """What is shown when."""

    n_frames: int
    fps: float
    times_s: list[float]
    width: int
    height: int
    animation: str | None
    camera: str | None


class Picked(Answer):
    """What a pixel shows."""

    object_id: int
    name: str | None
    color: str
    depth: float | None
    uv: list[float] | None


class UnknownWord(Answer):
    """A word that a model does not know."""

    word: str
    start: int
    end: int
    suggestion: str | None


class Unknown(Answer):
    """All of a text's."""

    unknown: list[UnknownWord]


class Progress(Answer):
    """How far a run is."""

    work: str
    done: int
    total: int
    elapsed_s: float
    left_s: float | None


class OfRun(Answer):
    """A run's scene."""

    id: str | None
    name: str


class Run(Answer):
    """A run, from its request to its end."""

    id: str
    name: str
    state: State
    scene: OfRun
    prompt: str
    negative_prompt: str | None
    model: str
    seed: int
    steps: int | None
    created: str
    started: str | None
    ended: str | None
    position: int | None
    can_resume: bool
    keeps_steps: bool
    error: str | None
    progress: Progress | None
    notes: list[str]
    warnings: list[str]
    preview: str | None
    n_frames: int | None
    fps: float | None
    width: int | None
    height: int | None
    has_video: bool
    seeds: str | None
    also: list[str]
    metrics: dict[str, Any] | None
    changed: dict[str, Any]
    batch: str | None


class Batch(Answer):
    """Runs that were asked for together: how many are in which state."""

    name: str
    total: int
    counts: dict[State, int]


class Batches(Answer):
    """All batches, the newest first."""

    batches: list[Batch]


class Runs(Answer):
    """Runs, the newest first."""

    runs: list[Run]
    total: int
    next: str | None


class Check(Unknown):
    """What a run would be; where there is an error, only the first entries."""

    error: str | None
    field: str | None
    notes: list[str]
    warnings: list[str]
    seconds: float | None
    memory_bytes: float | None
    text: str | None
    n_frames: int | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    disk_bytes: int | None = None


class Asked(Answer):
    """What a run was asked for."""

    scene: str | None
    settings: dict[str, Any]


class Recovered(Asked):
    """What a result was made with."""

    run: str | None
    notes: list[str]


class Figure(Answer):
    """One figure of a run."""

    key: str
    title: str
    meaning: str
    better: Literal["less", "more"] | None
    unit: str
    value: float | None
    text: str


class Metrics(Answer):
    """All figures, as in `metrics.json` and as a table."""

    metrics: dict[str, Any] | None
    table: list[Figure]


class Change(Answer):
    """Settings to try: in plain words, and as on the command line."""

    about: str
    words: str
    settings: dict[str, Any]


class Symptom(Answer):
    """A known fault."""

    name: str
    value: float | None
    limit: float
    better: Literal["less", "more"]
    is_present: bool | None
    meaning: str
    remedy: str
    changes: list[Change]


class Diagnosis(Answer):
    """All known faults."""

    symptoms: list[Symptom]


def tells(model: type[Answer] | None, status: int = 200) -> dict[str, Any]:
    """How a route's decorator is told what it answers, without every answer being checked as it goes out.

    Args:
        model: None: nothing.
    """
    answered: dict[int | str, Any] = {} if model is None else {status: {"model": model}}
    return {"response_model": None, "responses": {**answered, "4XX": {"model": Error}}}

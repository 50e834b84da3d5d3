"""What is written down about a run: `config.json` as a type, and the only place that knows its entries.

The entries of a run's parts stand side by side under `config` in the file; each part's fields are called as
its entries. Whatever is read again is checked first; a field with a default may be missing, since earlier
versions did not write it.

Example:
    >>> record = read_record(Path("runs/fox/config.json"))
    >>> record.shot.shot_config().camera
    'orbit'
"""

import datetime
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import genrender
from genrender.backbones.recipe import Recipe
from genrender.config import RunConfig
from genrender.errors import MediaError
from genrender.gbuffer.exr.channels import ExrMap
from genrender.scene.backdrop import BackdropKind
from genrender.scene.choices import UvMode
from genrender.scene.objects import ObjectRule
from genrender.shots.clip import Clip, Shot, ShotConfig
from genrender.shots.objects import clip_atlas_ids
from genrender.storage.json_kinds import Range, from_json, misfit
from genrender.storage.limits import MAX_FPS, MAX_FRAMES, MAX_SIDE, MAX_TIME_S, MIN_FPS
from genrender.storage.untrusted import read_json

Index = Annotated[int, Range(0, 2**31 - 1)]
Side = Annotated[int, Range(1, MAX_SIDE)]

# What a run may depend on beside this package and Python.
LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "numpy",
    "embreex",
    "xatlas",
    "av",
)
# What surfaces draw their noise by: a run begun by a version with other keys cannot go on.
NOISE_KEYS = "object names"
# Entries that only some runs have.
OF_SOME_RUNS = ("exr_map", "exr_frames", "clip_frames", "gbuffers", "appearance", "keyframes")


@dataclass(frozen=True)
class ShotRecord:
    """What a run shows. Settings have the names that they have in `ShotConfig`.

    Attributes:
        scene: path of the scene, or of the EXR files.
        animation_index: of the animation that plays; None: the rest pose.
        width: pixels per row.
        height: rows.
        n_frames: how many.
        times_s: their times in seconds, on the scene's clock.
        atlas_ids: the texture ids of every object, by its name.
        allowed_folders: where files of the scene may lie beside its own folder.
        animation: name of the animation.
        noise_keys: what surfaces draw their noise by.
        exr_map: the channels of a clip that was read from EXR files.
        exr_frames: the numbers of its frames.
        clip_frames: which frames the run holds, where these are not all of the shot's.
    """

    scene: str
    animation_index: Index | None
    camera: str | None
    loop: bool
    backdrop: BackdropKind
    uv: UvMode
    objects: ObjectRule
    fps: Annotated[float, Range(MIN_FPS, MAX_FPS)]
    width: Side
    height: Side
    n_frames: Annotated[int, Range(1, MAX_FRAMES)]
    times_s: tuple[Annotated[float, Range(-MAX_TIME_S, MAX_TIME_S)], ...]
    atlas_ids: dict[str, list[Index]]
    allowed_folders: tuple[str, ...] = ()
    animation: str | None = None
    noise_keys: str | None = None
    exr_map: ExrMap | None = None
    exr_frames: tuple[int, ...] | None = None
    clip_frames: tuple[Index, ...] | None = None

    @classmethod
    def of(cls, clip: Clip, frames: tuple[int, ...] | None = None) -> "ShotRecord":
        """What a clip shows, of which a run holds all frames or some."""
        shot = clip.shot
        if isinstance(shot, Shot):
            scene, index = shot.scene, shot.animation
            source = {
                "scene": str(scene.path.resolve()),
                "allowed_folders": tuple(map(str, scene.allowed_folders)),
                "animation_index": index,
                "animation": None if index is None else scene.animations[index].name,
            }
            config = shot.config
        else:
            source = {
                "scene": str(shot.sequence.path.resolve()),
                "animation_index": None,
                "exr_map": shot.sequence.channels.as_map(),
                "exr_frames": tuple(shot.sequence.numbers[frame] for frame in shot.frames),
            }
            config = ShotConfig(fps=shot.fps, times_s=shot.times_s)
        return cls(
            **source,
            **{name: getattr(config, name) for name in SAME_SETTINGS},
            width=shot.width,
            height=shot.height,
            n_frames=shot.n_frames,
            atlas_ids=clip_atlas_ids(clip),
            noise_keys=NOISE_KEYS,
            clip_frames=frames,
        )

    @property
    def shown(self) -> tuple[int, ...]:
        """The numbers of the frames that the run holds."""
        return tuple(range(self.n_frames)) if self.clip_frames is None else self.clip_frames

    def shot_config(self) -> ShotConfig:
        """The settings that make the same shot of the same scene."""
        return ShotConfig(
            size=(self.width, self.height),
            animation=None if self.animation_index is None else str(self.animation_index),
            **{name: getattr(self, name) for name in SAME_SETTINGS},
        )

    def difference(self, other: "ShotRecord") -> str | None:
        """The first entry in which another shot differs; None: both show the same points in all pixels."""
        compared = (name for name in (one.name for one in fields(self)) if name not in SHOWS_NOTHING)
        return next((name for name in compared if getattr(self, name) != getattr(other, name)), None)


# Resolved settings of a shot that its record holds as they are; a new one is stored and read by its name.
SAME_SETTINGS = tuple(
    one.name
    for one in fields(ShotConfig)
    if one.name in ShotRecord.__dataclass_fields__ and one.name not in ("animation", "n_frames")
)
# Entries of which none changes what a pixel shows.
SHOWS_NOTHING = ("fps", "n_frames", "atlas_ids", "allowed_folders", "animation", "noise_keys")


@dataclass(frozen=True)
class SettingsRecord:
    """A run's resolved `RunConfig`: what is read again, and the others as they stand in the file."""

    prompt: str
    n_steps: int
    sampler: str
    others: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """All settings side by side."""
        settings = asdict(self)
        return {**settings.pop("others"), **settings}

    @classmethod
    def of(cls, config: RunConfig) -> "SettingsRecord":
        entries = asdict(config)
        named = {name: entries.pop(name) for name in ("prompt", "n_steps", "sampler")}
        return cls(**named, others=entries)


@dataclass(frozen=True)
class NetworksRecord:
    """What painted: names as the libraries have them."""

    device: str
    dtype: str | None = None
    controlnet: str | None = None
    scheduler: str | None = None
    scheduler_config: dict[str, Any] | None = None


@dataclass(frozen=True)
class Origin:
    """What a run was made of, in its user's words, and short names for the contents of files.

    Attributes:
        recipe: what painted.
        preset: the settings that were begun from.
        method_name: one of `genrender.methods.table.METHODS`.
        weights: digest of all files that the recipe names.
        gbuffers: digest of the clip's G-buffers.
        appearance: digest of the appearance that another run lent.
        keyframes: digest of the keyframes that the frames were made against.
    """

    recipe: Recipe
    preset: str | None = None
    method_name: str | None = None
    weights: str | None = None
    gbuffers: str | None = None
    appearance: str | None = None
    keyframes: str | None = None


@dataclass(frozen=True)
class Making:
    """Everything that the frames of a run depend on.

    Attributes:
        origin: None: of a run that was made without a name for its model.
    """

    shot: ShotRecord
    settings: SettingsRecord
    networks: NetworksRecord
    origin: Origin | None = None

    def entries(self) -> dict[str, Any]:
        """All of it side by side, for JSON."""
        origin = {} if self.origin is None else asdict(self.origin)
        if self.origin is not None:
            origin["recipe"] = self.origin.recipe.depends_on()
        made = {
            **origin,
            **asdict(self.shot),
            **self.settings.plain(),
            **asdict(self.networks),
        }
        if self.shot.exr_map is not None:
            del made["allowed_folders"]  # EXR files refer to no others
        return {name: value for name, value in made.items() if value is not None or name not in OF_SOME_RUNS}


@dataclass(frozen=True)
class Cost:
    """What the run took."""

    seconds_per_frame: float
    peak_memory_mb: float | None
    gpu_peak_memory_mb: float | None


@dataclass(frozen=True)
class RunRecord:
    """The whole file.

    Attributes:
        making: everything that the frames depend on.
        cost: what they took.
        seed: the number that every random choice of the run derives from.
        command: the words of the command line.
        created: date and time in ISO's form.
        versions: of this package, Python and libraries, by name.
        flagged_frames: frames that the model's safety checker blackened.
        platform: the operating system.
        n_threads: that a processor computed with; None: it was a GPU.
    """

    making: Making
    cost: Cost
    seed: int
    command: tuple[str, ...]
    created: str
    versions: Mapping[str, str]
    flagged_frames: tuple[int, ...] = ()
    platform: str | None = None
    n_threads: int | None = None

    @classmethod
    def now(
        cls,
        making: Making,
        cost: Cost,
        seed: int,
        command: Sequence[str],
        flagged_frames: Sequence[int] = (),
        n_threads: int | None = None,
    ) -> "RunRecord":
        """The record of a run that has just been made here."""
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        system = platform.platform()
        flagged = tuple(flagged_frames)
        return cls(making, cost, seed, tuple(command), created, versions(), flagged, system, n_threads)

    @property
    def shot(self) -> ShotRecord:
        return self.making.shot

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        made = {"flagged_frames": list(self.flagged_frames), "cost": asdict(self.cost)}
        return {
            "config": {**self.making.entries(), **made},
            "seed": self.seed,
            "command": list(self.command),
            "created": self.created,
            "versions": dict(self.versions),
            "platform": self.platform,
            "n_threads": self.n_threads,
        }


class _File(TypedDict):
    """What a file must hold beside the parts under `config`."""

    config: dict[str, Any]
    seed: int
    command: list[str]
    created: str
    versions: dict[str, str]
    platform: NotRequired[str | None]
    n_threads: NotRequired[int | None]


class _OfRecord(TypedDict):
    """What `config` must hold beside a `Making`."""

    cost: Cost
    flagged_frames: NotRequired[list[Index]]


class Request(TypedDict):
    """What an unfinished run was asked for."""

    request: dict[str, Any]
    versions: dict[str, str]
    command: list[str]
    working_directory: str
    checksum: str
    # Of runs that a processor computes.
    n_threads: NotRequired[int]
    # Of runs that began as a job.
    job: NotRequired[dict[str, Any]]


def read_record(file: Path) -> RunRecord:
    """What a finished run's `config.json` holds.

    Raises:
        MediaError: there is none, or an entry is missing or of another kind; it says which.
    """
    expected = "what a run of genrender writes: render the run again"
    try:
        # Schedulers have settings that are infinite, which earlier versions wrote as they are.
        stored = read_json(file, MediaError, expected, allow_infinity=True)
    except FileNotFoundError as error:
        raise MediaError(
            f"{file.parent} is no run folder: it holds no {file.name}; give one that `genrender render` "
            "printed"
        ) from error
    stored = _with_recipe(stored)
    if (wrong := _misfit(stored)) is not None:
        what = wrong if isinstance(stored, dict) else "it holds no entries"
        raise MediaError(f"{file}: {what}; it is damaged, or of another version: render the run again")
    return _record_of(stored)


def _with_recipe(stored: Any) -> Any:
    """Earlier versions named a model and an autoencoder, and nothing else of a recipe."""
    config = stored.get("config") if isinstance(stored, dict) else None
    if not isinstance(config, dict) or "model" not in config:
        return stored
    others = {name: value for name, value in config.items() if name not in ("model", "vae")}
    return {**stored, "config": {**others, "recipe": {"base": config["model"], "vae": config.get("vae")}}}


def _misfit(stored: Any) -> str | None:
    if (wrong := misfit(stored, _File, "")) is not None:
        return wrong
    config = stored["config"]
    parts = [ShotRecord, SettingsRecord, NetworksRecord, _OfRecord, *([Origin] if "recipe" in config else [])]
    wrong = next(filter(None, (misfit(config, part, "config") for part in parts)), None)
    if wrong is None and config.get("exr_map") is not None and not config.get("exr_frames"):
        return "config.exr_frames is missing"
    return wrong


def _record_of(stored: Mapping[str, Any]) -> RunRecord:
    config = stored["config"]
    parts = (ShotRecord, SettingsRecord, NetworksRecord, Origin)
    known = {one.name for part in parts for one in fields(part)} | {"cost", "flagged_frames"}
    others = {name: value for name, value in config.items() if name not in known}
    making = Making(
        from_json(ShotRecord, config),
        from_json(SettingsRecord, {**config, "others": others}),
        from_json(NetworksRecord, config),
        from_json(Origin, config) if "recipe" in config else None,
    )
    return RunRecord(
        making,
        from_json(Cost, config["cost"]),
        stored["seed"],
        tuple(stored["command"]),
        stored["created"],
        stored["versions"],
        tuple(config.get("flagged_frames", ())),
        stored.get("platform"),
        stored.get("n_threads"),
    )


def versions() -> dict[str, str]:
    """The versions that a result may depend on; libraries that are not installed are left out."""
    found = {"genrender": genrender.__version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def differences(before: object, now: object, name: str = "") -> list[tuple[str, object, object]]:
    """The leaves in which two nested mappings differ: their names and both values."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        return [
            difference
            for key in sorted({*before, *now}, key=str)
            for difference in differences(
                before.get(key), now.get(key), f"{name}.{key}" if name else str(key)
            )
        ]
    return [] if before == now else [(name, before, now)]

"""One shot by several methods: their runs made, measured and related to each other."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from genrender.errors import ConfigError, MediaError
from genrender.evaluation.evaluate import Judges, evaluate
from genrender.evaluation.page import check_plots, write_page
from genrender.evaluation.runs import finished_run, keep_metrics, load_judges
from genrender.gbuffer.exr.survey import open_sequence
from genrender.jobs.job import RenderJob
from genrender.jobs.plan import run_config
from genrender.jobs.reuse import check_can_be_had
from genrender.jobs.worker import Worker
from genrender.methods.table import METHOD_OPTIONS, METHODS, MethodName
from genrender.runs.finished import FinishedRun
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import SILENT, RunHooks
from genrender.scene.load import load_scene
from genrender.scene.objects import with_objects
from genrender.shots.clip import Clip
from genrender.storage.atomic import check_writable
from genrender.storage.scratch import gbuffer_file

# The method whose sharpness the others are related to: nothing is shared, so nothing can blur.
REFERENCE: MethodName = "per-frame"


@dataclass(frozen=True)
class CompareJob:
    """A comparison.

    Attributes:
        job: what all runs have in common.
        methods: the names of those to compare.
        folder: holds a run folder for each.
        clip_model: CLIP model to judge by; None: pocket's.
        depth_model: network that estimates depth; None: depth is not judged.
        report: page to write.
        debug: show on stderr where an error of a run comes from.
    """

    job: RenderJob
    methods: tuple[MethodName, ...]
    folder: Path
    clip_model: str | None = None
    depth_model: str | None = None
    report: Path | None = None
    debug: bool = False


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes:
        results: metrics and costs of each method.
        has_geometry: whether surfaces could be followed.
        judges: the networks that looked at the runs; `check` tells which were missing.
    """

    results: Mapping[str, Mapping[str, Any]]
    has_geometry: bool
    judges: Judges


def compare(asked: CompareJob, hooks: RunHooks = SILENT) -> Comparison:
    """Makes and measures a run by every method; what an interrupted comparison has finished is kept.

    Raises:
        Cancelled: the hooks say so.
        ConfigError: a setting is wrong, or a run fails.
        MediaError: a file cannot be read or written.
        SceneError: the scene cannot be used.
    """
    # 1. What is wrong is told before any slow work.
    jobs = checked_jobs(asked, hooks)
    folders = {name: RunFolder(asked.folder / name) for name in jobs}
    judges = load_judges(asked.clip_model, asked.depth_model, hooks)

    # 2. Runs that are not there yet, and their figures.
    runs: dict[str, FinishedRun] = {}
    clip: Clip | None = None
    results: dict[str, dict[str, Any]] = {}
    with gbuffer_file() as file, Worker(asked.debug) as worker:
        for number, (name, job) in enumerate(jobs.items(), start=1):
            label = f"{name} ({number} of {len(jobs)})"
            runs[name] = finished_run(job, folders[name], label, worker, file, clip, hooks)
            clip = runs[name].clip
        for name, run in runs.items():
            metrics = evaluate(run, judges, runs.get(REFERENCE))
            keep_metrics(run, metrics, hooks)
            results[name] = metrics | asdict(run.record.cost)
        if asked.report is not None:
            write_page(asked.report, runs, results, {name: METHODS[name].summary for name in jobs})
            hooks.note(f"report {asked.report}")
    return Comparison(results, clip is None or clip.has_geometry, judges)


def checked_jobs(asked: CompareJob, hooks: RunHooks = SILENT) -> dict[MethodName, RenderJob]:
    """The job of every method; finds out what can be wrong before any network is loaded.

    Raises:
        ConfigError: a setting is wrong.
        MediaError: a file cannot be read or written.
        SceneError: the scene cannot be used.
    """
    clip_job = asked.job.clip
    names = without_baked(asked.methods, hooks) if clip_job.is_exr else asked.methods
    jobs = {name: job_of(asked.job, name) for name in names}
    for job in jobs.values():
        run_config(job).check()
    if clip_job.is_exr:
        open_sequence(clip_job.scene, clip_job.read_exr_map())
    else:
        clip_job.read_exr_map()
        with_objects(load_scene(clip_job.scene, clip_job.allow_folder), clip_job.shot.objects)
    if clip_job.shot.n_frames == 1:
        raise ConfigError("frames is 1, expected at least 2: one frame has nothing to agree with")
    if asked.report is not None:
        check_report(asked.report)
    for name, job in jobs.items():
        check_can_be_had(job, RunFolder(asked.folder / name))
    return jobs


def job_of(job: RenderJob, name: MethodName) -> RenderJob:
    """The job of one method. What means nothing to it is left out."""
    method = METHODS[name]
    foreign = {"settings" if option == "set" else option for option in METHOD_OPTIONS - method.options}
    if method.config is not None:
        # The lock is part of ours, and a rival's noise is part of the rival.
        foreign |= {"lock", "noise"}
    if name != "generative":
        foreign.add("appearance_from")
    if method.is_baked:
        foreign |= {"prompts_at", "lock"}
    defaults = {field.name: field.default for field in fields(RenderJob) if field.name in foreign}
    return replace(job, method=name, **defaults)


def without_baked(names: Sequence[MethodName], hooks: RunHooks) -> tuple[MethodName, ...]:
    """The methods that do without triangles.

    Raises:
        ConfigError: there is none.
    """
    left = tuple(name for name in names if not METHODS[name].is_baked)
    if not left:
        raise ConfigError(
            f"{', '.join(names)} needs triangles, and EXR files hold none; choose other methods"
        )
    if len(left) < len(names):
        hooks.note(f"EXR files hold no triangles: {', '.join(sorted({*names} - {*left}))} is left out")
    return left


def method_names(text: str) -> tuple[MethodName, ...]:
    """The methods of "a,b,c", each once.

    Raises:
        ConfigError: there is none, or one is unknown.
    """
    names: list[Any] = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    known = get_args(MethodName)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"unknown method {unknown[0]!r}" if unknown else "no method"
        raise ConfigError(f"{what}, expected some of {', '.join(known)}, separated by commas")
    return tuple(names)


def check_report(file: Path) -> None:
    """Raises MediaError unless a page can be written there, ConfigError where its plots cannot be drawn."""
    check_plots()
    if file.is_dir():
        raise MediaError(f"cannot write {file}: it is a folder; give the name of a file, such as page.html")
    check_writable(file.parent)

"""Routes about runs: asking for them, following, stopping, deleting, measuring."""

import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from genrender.errors import ConfigError, MediaError
from genrender.runs.unfinished import has_steps
from genrender.server import answers, forms
from genrender.server.answers import tells
from genrender.server.asking import ask, check, find_run, submit, wish
from genrender.server.database import RunEntry
from genrender.server.queue import has_video, left_state
from genrender.server.reception import receive_files
from genrender.server.recovery import recover
from genrender.server.refused import conflict
from genrender.server.studio import Studio, new_id
from genrender.storage.run_files import (
    ALPHA_DIR,
    EXR_DIR,
    MATTES_DIR,
    METRICS_FILE,
    PREVIEW_FILE,
    PRORES_FILE,
    UNFINISHED_DIR,
    UPSCALED_FILE,
)
from genrender.storage.untrusted import check_text, read_json

MEASURE_TIMEOUT_S = 3600.0
EVENTS: dict[str, Any] = {
    "response_class": StreamingResponse,
    "responses": {200: {"content": {"text/event-stream": {}}}, "4XX": {"model": answers.Error}},
}
# Files that a finished run may get, by what the API calls them.
MADE = {
    "alpha": ALPHA_DIR,
    "exr": EXR_DIR,
    "mattes": MATTES_DIR,
    "prores": PRORES_FILE,
    "upscaled": UPSCALED_FILE,
}
ENDED = ("finished", "failed", "stopped")


def facts(studio: Studio, entry: RunEntry, positions: dict[str, int] | None = None) -> dict[str, Any]:
    """A `Run` of the API."""
    place = studio.run_folder(entry)
    progress = studio.queue.progress.get(entry.id) if entry.state == "running" else None
    preview = None
    if entry.state in ("running", "stopped", "failed"):
        preview_file = place / UNFINISHED_DIR / PREVIEW_FILE
        if preview_file.is_file():
            preview = f"preview.png?step={preview_file.stat().st_mtime_ns // 1_000_000}"
    if entry.state == "waiting" and positions is None:
        positions = studio.database.positions()
    settings, shape = entry.settings, entry.shape
    return {
        "id": entry.id,
        "name": entry.name,
        "state": entry.state,
        "scene": {"id": entry.scene, "name": entry.scene_name},
        "prompt": settings.get("prompt", ""),
        "negative_prompt": settings.get("negative_prompt"),
        "model": settings.get("model", "pocket"),
        "seed": settings.get("seed", 0),
        "steps": shape.get("steps"),
        "created": entry.created,
        "started": entry.started,
        "ended": entry.ended,
        "position": (positions or {}).get(entry.id) if entry.state == "waiting" else None,
        "can_resume": entry.state in ("stopped", "failed"),
        "keeps_steps": entry.state in ("stopped", "failed") and has_steps(place),
        "error": None if entry.error is None else studio.plain(entry.error),
        "progress": None if progress is None else progress.facts(),
        "notes": [studio.plain(text) for text in entry.notes],
        "warnings": [studio.plain(text) for text in entry.warnings],
        "preview": preview,
        **{name: shape.get(name) for name in ("n_frames", "fps", "width", "height")},
        "has_video": has_video(place),
        "seeds": entry.seeds,
        "also": [name for name, file in MADE.items() if (place / file).exists()],
        "metrics": entry.metrics,
        "changed": settings,
        "batch": entry.batch,
    }


def run_routes(studio: Studio) -> APIRouter:
    """The routes under /api/runs that are no files, and those beside them."""
    routes = APIRouter(prefix="/api")
    database = studio.database

    def changed(run: str, states: tuple[str, ...], what: str, **changes: Any) -> dict[str, Any]:
        """A run in another state; refused where it is in none of these."""
        entry = database.change_run(run, states, **changes)  # pyright: ignore[reportArgumentType] (states)
        if entry is None:
            raise conflict(f"the run is {find_run(studio, run).state}: {what}")
        studio.queue.wake()
        studio.events.tell(run)
        return facts(studio, entry)

    @routes.post("/check", **tells(answers.Check))
    def check_(asked: forms.Request) -> dict[str, Any]:
        """What the command line would say before it begins, and how long it would take."""
        made = ask(studio, asked.scene, asked.settings, asked.of)
        return check(studio, made, studio.runs / new_id("check"))

    @routes.post("/runs", status_code=201, **tells(answers.Run, 201))
    def submit_(asked: forms.Request) -> dict[str, Any]:
        """Puts a run into the queue."""
        made = ask(studio, asked.scene, asked.settings, asked.of)
        return facts(studio, submit(studio, made, asked.name, asked.batch))

    @routes.get("/batches", **tells(answers.Batches))
    async def batches() -> dict[str, Any]:
        """How far all batches are, the newest first."""
        found = database.batches().items()
        return {
            "batches": [{"name": name, "total": sum(of.values()), "counts": of} for name, of in found],
        }

    @routes.get("/runs", **tells(answers.Runs))
    async def runs(
        search: Annotated[str, Query(max_length=1000)] = "",
        state: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: Annotated[str | None, Query(max_length=200)] = None,
        batch: Annotated[str | None, Query(max_length=100)] = None,
    ) -> dict[str, Any]:
        """Runs, the newest first; deleted ones where that state is asked for."""
        states = tuple(word for word in state.split(",") if word)
        found, total = database.runs(search, states, limit, before, batch)
        positions = database.positions()
        last = found[-1].id if len(found) == limit else None
        return {"runs": [facts(studio, entry, positions) for entry in found], "total": total, "next": last}

    @routes.get("/events", **EVENTS)
    async def events() -> StreamingResponse:
        """What happens to all runs, as server-sent events."""
        return _stream(studio, None)

    @routes.get("/runs/{run}", **tells(answers.Run))
    async def run_(run: str) -> dict[str, Any]:
        """One run."""
        return facts(studio, find_run(studio, run))

    @routes.get("/runs/{run}/events", **EVENTS)
    async def events_of(run: str) -> StreamingResponse:
        """What happens to one run until it has ended, as server-sent events."""
        return _stream(studio, find_run(studio, run).id)

    @routes.post("/runs/{run}/cancel", **tells(answers.Run))
    async def cancel(run: str) -> dict[str, Any]:
        """Takes a run from the queue, or stops it after its step; it can be resumed."""
        state = left_state(studio.run_folder(find_run(studio, run)))
        entry = database.change_run(run, ("waiting",), state=state, wish=None)
        if entry is None:
            entry = find_run(studio, run)
            if entry.state != "running":
                raise conflict(
                    f"the run is {entry.state}: only what waits or goes on can be cancelled; look again"
                )
            studio.queue.cancel(run)
        studio.events.tell(run)
        return facts(studio, entry)

    @routes.post("/runs/{run}/resume", **tells(answers.Run))
    async def resume(run: str) -> dict[str, Any]:
        """Puts a stopped run into the queue again; it goes on from the last step that it keeps."""
        what = "only what was stopped can be resumed"
        return changed(run, ("stopped", "failed"), what, state="waiting", error=None)

    @routes.post("/runs/{run}/finish", **tells(answers.Run))
    async def finish(run: str, asked: forms.Wish) -> dict[str, Any]:
        """Puts a finished run into the queue again, to get files that compositors take."""
        entry = find_run(studio, run)
        if entry.state == "finished" and not has_video(studio.run_folder(entry)):
            raise conflict("it is a sheet of seeds: make the video with one of them first")
        made = wish(studio, asked.also, asked.upscale)
        what = "only what is finished can get more files"
        return changed(run, ("finished",), what, state="waiting", error=None, wish=made)

    @routes.post("/runs/{run}/name", **tells(answers.Run))
    async def name(run: str, asked: forms.Name) -> dict[str, Any]:
        """Calls a run something else."""
        check_text("name", asked.name, ConfigError)
        return changed(run, (), "", name=asked.name.strip())

    @routes.delete("/runs/{run}", status_code=204, **tells(None, 204))
    async def delete(run: str) -> None:
        """Deletes a run; for a day it can be restored."""
        entry = find_run(studio, run)
        if entry.state == "waiting":
            state = left_state(studio.run_folder(entry))
            waiting = database.change_run(run, ("waiting",), state=state, wish=None)
            entry = waiting or find_run(studio, run)
        if entry.state not in ENDED:
            raise conflict(f"the run is {entry.state}: cancel it first")
        gone = database.change_run(run, (entry.state,), state="deleted", before=entry.state)
        if gone is None:
            raise conflict("the run has just changed: look again")
        await run_in_threadpool(_move, studio.runs / run, studio.folder / "trash" / run)
        studio.events.tell(run)

    @routes.post("/runs/{run}/restore", **tells(answers.Run))
    async def restore(run: str) -> dict[str, Any]:
        """Takes a deletion back."""
        entry = find_run(studio, run)
        if entry.state != "deleted":
            raise conflict(f"the run is {entry.state}: only what was deleted can be restored; look again")
        await run_in_threadpool(_move, studio.folder / "trash" / run, studio.runs / run)
        return changed(run, ("deleted",), "", state=entry.before or "stopped", before=None)

    @routes.get("/runs/{run}/settings", **tells(answers.Asked))
    async def settings(run: str) -> dict[str, Any]:
        """What a run was asked for, to ask again."""
        entry = find_run(studio, run)
        return {"scene": entry.scene, "settings": entry.settings}

    @routes.get("/runs/{run}/metrics", **tells(answers.Metrics))
    def metrics(run: str) -> dict[str, Any]:
        """Figures of a run, as far as they are measured."""
        found = find_run(studio, run).metrics or _stored_metrics(studio, run)
        if found is None:
            return {"metrics": None, "table": []}
        return {"metrics": found, "table": studio.judge.call("table", 60.0, found=found)[0]}

    @routes.post("/runs/{run}/metrics", **tells(answers.Metrics))
    def measure(run: str) -> dict[str, Any]:
        """Figures of a run, measured now."""
        found, _ = studio.judge.call("metrics", MEASURE_TIMEOUT_S, folder=str(_finished(studio, run)))
        database.change_run(run, metrics=found["metrics"])
        studio.events.tell(run)
        return found

    @routes.post("/runs/{run}/diagnose", **tells(answers.Diagnosis))
    def diagnose(run: str) -> dict[str, Any]:
        """Known faults of a run, and settings to try against them."""
        found, _ = studio.judge.call("diagnose", MEASURE_TIMEOUT_S, folder=str(_finished(studio, run)))
        given = find_run(studio, run).settings.get("set") or []
        for symptom in found:
            for change in symptom["changes"]:
                if "set" in change["settings"]:
                    change["settings"]["set"] = [*given, *change["settings"]["set"]]
        return {"symptoms": found}

    @routes.post("/recover", **tells(answers.Recovered), openapi_extra=forms.FILES)
    async def recover_(request: Request) -> dict[str, Any]:
        """The settings of a result: a video, a picture, settings or a run folder as zip, as multipart."""
        place = studio.work_folder()
        try:
            kind = request.headers.get("content-type", "")
            uploads = await receive_files(kind, request.stream(), place, studio.config.uploads)
            return await run_in_threadpool(recover, studio, uploads[0])
        finally:
            await run_in_threadpool(shutil.rmtree, place, True)

    return routes


def _stream(studio: Studio, only: str | None) -> StreamingResponse:
    def describe(run: str) -> dict[str, Any] | None:
        entry = studio.database.run(run)
        return None if entry is None else facts(studio, entry)

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(studio.events.stream(describe, only), 200, headers, "text/event-stream")


def _finished(studio: Studio, run: str) -> Path:
    entry = find_run(studio, run)
    place = studio.run_folder(entry)
    if not has_video(place):
        raise conflict(
            f"the run is {entry.state}, without a video: only what has one can be measured; wait for it"
        )
    return place


def _stored_metrics(studio: Studio, run: str) -> dict[str, Any] | None:
    """What `genrender evaluate` has left in the run's folder."""
    file = studio.run_folder(find_run(studio, run)) / METRICS_FILE
    try:
        return read_json(file, MediaError, "what measuring writes: measure the run again")
    except FileNotFoundError:
        return None


def _move(source: Path, target: Path) -> None:
    if source.is_dir():
        source.rename(target)
        target.touch()

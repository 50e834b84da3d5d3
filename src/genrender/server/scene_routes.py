"""Routes about scenes: uploads, reports, and the viewer's pictures."""

import re
import secrets
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from PIL import Image

from genrender.errors import MediaError, SceneError
from genrender.jobs.job import job_to_json
from genrender.options.settings import job_of
from genrender.scene.formats.table import BY_SUFFIX, CONVERTED
from genrender.server import answers
from genrender.server.answers import tells
from genrender.server.asking import ask, find_scene
from genrender.server.database import SceneEntry
from genrender.server.example import example_glb
from genrender.server.forms import FILES, OfSettings, Pick, View
from genrender.server.queue import now
from genrender.server.reception import Upload, receive_files
from genrender.server.refused import conflict
from genrender.server.studio import Studio, new_id
from genrender.server.upload_tasks import find_exr_map
from genrender.server.uploads import UploadLimits, kept_name
from genrender.storage.untrusted import (
    MAX_NAME_LENGTH,
    SHOWN_LENGTH,
    file_name,
    json_text,
    library_errors,
    shown,
)

READ_TIMEOUT_S = 300.0
VIEW_TIMEOUT_S = 60.0
EXAMPLE = "Walking figure.glb"
MAX_PICTURE_BYTES = 50_000_000
MAX_PICTURE_PX = 4096


def scene_routes(studio: Studio) -> APIRouter:
    """The routes under /api/scenes, and that for pictures."""
    routes = APIRouter(prefix="/api")

    @routes.get("/scenes", **tells(answers.Scenes))
    async def scenes() -> dict[str, Any]:
        """All scenes, the newest first."""
        return {"scenes": [_summary(entry) for entry in studio.database.scenes()]}

    @routes.post("/scenes", status_code=201, **tells(answers.Scene, 201), openapi_extra=FILES)
    async def upload(request: Request) -> dict[str, Any]:
        """Takes a scene: one file, several that belong together, or a zip of them, as multipart/form-data."""
        place = studio.work_folder()
        try:
            kind = request.headers.get("content-type", "")
            uploads = await receive_files(kind, request.stream(), place, studio.config.uploads)
            return await run_in_threadpool(_take, studio, place, uploads)
        finally:
            await run_in_threadpool(shutil.rmtree, place, True)

    @routes.post("/scenes/example", status_code=201, **tells(answers.Scene, 201))
    def example() -> dict[str, Any]:
        """Takes a walking figure that comes with the program."""
        place = studio.work_folder()
        file = place / "upload-0"
        file.write_bytes(example_glb())
        try:
            return _take(studio, place, [Upload(EXAMPLE, file)])
        finally:
            shutil.rmtree(place, ignore_errors=True)

    @routes.get("/scenes/{scene}", **tells(answers.Scene))
    async def scene(scene: str) -> dict[str, Any]:
        """What was found in a scene when it came."""
        entry = find_scene(studio, scene)
        return {**_summary(entry), **entry.report}

    @routes.post("/scenes/{scene}/inspect", **tells(answers.Scene))
    def inspect(scene: str, asked: OfSettings) -> dict[str, Any]:
        """The same, with objects as settings divide them."""
        made = ask(studio, scene, asked.settings)
        found, _ = studio.reader.call("report", READ_TIMEOUT_S, job=made.plain_job)
        return {**_summary(find_scene(studio, scene)), **_without_folders(studio, found)}

    @routes.delete("/scenes/{scene}", status_code=204, **tells(None, 204))
    async def delete(scene: str) -> None:
        """Deletes a scene for good."""
        entry = find_scene(studio, scene)
        busy, _ = studio.database.runs(states=("waiting", "running"))
        if any(run.scene == scene for run in busy):
            raise conflict(
                f"the scene {entry.name} is needed by a run that waits or goes on: cancel that first"
            )
        studio.database.drop_scene(scene)
        await run_in_threadpool(shutil.rmtree, studio.scenes / entry.id, True)

    @routes.post("/scenes/{scene}/shot", **tells(answers.Shot))
    def shot(scene: str, asked: OfSettings) -> dict[str, Any]:
        """Frames, rate, size and times of what settings show."""
        made = ask(studio, scene, asked.settings)
        return studio.viewer.call("shot", VIEW_TIMEOUT_S, job=made.plain_job)[0]

    @routes.post(
        "/scenes/{scene}/view", response_class=Response, responses={200: {"content": {"image/png": {}}}}
    )
    def view(scene: str, asked: View) -> Response:
        """A picture as PNG; the header X-View tells which camera took it."""
        job = _shown_job(studio, scene, asked)
        facts, picture = studio.viewer.call("view", VIEW_TIMEOUT_S, job=job, asked=asked.model_dump())
        return Response(picture, media_type="image/png", headers={"X-View": json_text(facts, indent=None)})

    @routes.post("/scenes/{scene}/pick", **tells(answers.Picked))
    def pick(scene: str, asked: Pick) -> dict[str, Any]:
        """What a pixel of a view shows."""
        job, plain = _shown_job(studio, scene, asked), asked.model_dump(exclude={"x", "y"})
        return studio.viewer.call("pick", VIEW_TIMEOUT_S, job=job, asked=plain, x=asked.x, y=asked.y)[0]

    @routes.post("/pictures", status_code=201, **tells(answers.Picture, 201), openapi_extra=FILES)
    async def picture(request: Request) -> dict[str, Any]:
        """Takes a reference picture for `ip_image`."""
        place = studio.work_folder()
        try:
            kind, limits = request.headers.get("content-type", ""), UploadLimits(MAX_PICTURE_BYTES, 1)
            uploads = await receive_files(kind, request.stream(), place, limits)
            return await run_in_threadpool(_take_picture, studio, uploads[0])
        finally:
            await run_in_threadpool(shutil.rmtree, place, True)

    return routes


def _summary(entry: SceneEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.name,
        "added": entry.added,
        "bytes": entry.bytes,
        "kind": entry.kind,
    }


def _without_folders(studio: Studio, found: dict[str, Any]) -> dict[str, Any]:
    """A report without this server's paths: those of EXR files tell where they lie."""
    report = found["report"]
    plain = {
        name: [studio.plain(t) for t in report[name]] for name in ("problems", "notes") if name in report
    }
    paths = {"path": studio.plain(report["path"])} if "path" in report else {}
    return {**found, "report": report | plain | paths, "notes": [studio.plain(t) for t in found["notes"]]}


def _shown_job(studio: Studio, scene: str, asked: View) -> dict[str, Any]:
    """The job of a view: only what the shot depends on, so that typing a prompt changes no picture."""
    entry = find_scene(studio, scene)
    made = ask(studio, entry.id, asked.settings)
    path = studio.scene_path(entry)
    plain = job_to_json(job_of({}, path, find_exr_map(path)))
    return {**plain, "clip": made.plain_job["clip"]}


def _take(studio: Studio, place: Path, uploads: list[Upload]) -> dict[str, Any]:
    """Reads an upload for the first time, and keeps it if that goes well."""
    folder = place / "scene"
    folder.mkdir()
    archives = []
    for upload in uploads:
        if len(uploads) == 1 and upload.name.lower().endswith(".zip"):
            name = Path("upload.zip")
            archives.append(name.name)
        else:
            name = _name_of_one(upload.name) if len(uploads) == 1 else Path(kept_name(upload.name))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (folder / name).exists():
            raise MediaError(f"two files are called {shown(upload.name, SHOWN_LENGTH)}: rename one of them")
        upload.file.rename(folder / name)
    limits = asdict(studio.config.uploads)
    found, _ = studio.reader.call(
        "receive", READ_TIMEOUT_S, folder=str(folder), archives=archives, limits=limits
    )
    title = uploads[0].name if len(uploads) == 1 else Path(found["scene"]).name
    n_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    scene = str(found.pop("scene"))
    kind = str(found.pop("kind"))
    found = _without_folders(studio, found)
    id = new_id(Path(title).stem)
    entry = SceneEntry(id, title[:MAX_NAME_LENGTH], kind, now(), n_bytes, scene, found)
    folder.rename(studio.scenes / id)
    studio.database.put_scene(entry)
    return {**_summary(entry), **found}


def _name_of_one(name: str) -> Path:
    """Under which name the only file of an upload is kept, for messages to tell it."""
    last = re.split(r"[/\\]", name)[-1]
    suffix = Path(last).suffix.lower()
    if suffix not in BY_SUFFIX and suffix not in (*CONVERTED, ".exr"):
        known = ", ".join((*BY_SUFFIX, ".zip"))
        raise SceneError(f"{shown(last, SHOWN_LENGTH)}: no scene is called like that, expected {known}")
    return Path((file_name(Path(last).stem) or "scene") + suffix)


def _take_picture(studio: Studio, upload: Upload) -> dict[str, Any]:
    name = shown(upload.name, SHOWN_LENGTH)
    remedy = "expected a PNG, JPEG or WebP of at most 4096 pixels on a side"
    with (
        library_errors(name, MediaError, remedy, Exception),
        Image.open(upload.file, formats=("PNG", "JPEG", "WEBP")) as image,
    ):
        if max(image.size) > MAX_PICTURE_PX:
            raise MediaError(f"{name}: has {image.width}x{image.height} pixels, {remedy}")
        picture = image.convert("RGB")
    id = secrets.token_hex(8)
    picture.save(studio.folder / "pictures" / f"{id}.png")
    return {"id": id, "name": upload.name, "width": picture.width, "height": picture.height}

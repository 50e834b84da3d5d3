"""Routes to the files of runs, and to pictures and archives that are made of them."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from genrender.media.images import with_texts
from genrender.runs.folder import RunFolder
from genrender.runs.told import KEY, told_of
from genrender.server.asking import find_run
from genrender.server.database import RunEntry
from genrender.server.queue import has_video
from genrender.server.refused import conflict, not_found
from genrender.server.studio import Studio
from genrender.storage.run_files import (
    CONFIG_FILE,
    CONTACT_SHEET_FILE,
    FINISHING_DIR,
    FRAMES_DIR,
    NUMBERED,
    PREVIEW_FILE,
    PRORES_FILE,
    SEEDS_FILE,
    UNFINISHED_DIR,
    UPSCALED_FILE,
    VIDEO_FILE,
    frame_file,
)

PASS_TIMEOUT_S = 120.0
EXPORT_TIMEOUT_S = 3600.0
# Finished runs do not change; one that is made anew has another id.
KEPT = {"Cache-Control": "private, max-age=86400"}
Frame = Annotated[int, InPath(ge=0, le=99_999)]
OF_ALSO = {PRORES_FILE: "video/quicktime", UPSCALED_FILE: "video/mp4"}
WHOLE_FILES = {VIDEO_FILE: "video/mp4", CONTACT_SHEET_FILE: "image/png", CONFIG_FILE: "application/json"}


def file_routes(studio: Studio) -> APIRouter:
    """The routes below /api/runs/RUN that end in a file's name."""
    routes = APIRouter(prefix="/api/runs/{run}")

    def sent(entry: RunEntry, file: Path, media_type: str, download: bool) -> FileResponse:
        if not file.is_file():
            raise not_found(f"{file.name} of the run {entry.name!r} ({entry.state})")
        name = f"{_plain(entry.name)}-{file.name}" if download else None
        return FileResponse(file, 200, KEPT, media_type, filename=name)

    def packed(entry: RunEntry, name: str, fill: Callable[[Path], Any]) -> FileResponse:
        if not has_video(studio.run_folder(entry)):
            raise conflict(f"the run is {entry.state}: wait until it is finished")
        file = studio.work_folder() / name
        try:
            fill(file)
        except BaseException:
            _remove(file)
            raise
        title = f"{_plain(entry.name)}-{name}"
        return FileResponse(
            file, media_type="application/zip", filename=title, background=BackgroundTask(_remove, file)
        )

    @routes.get("/frames/{frame}.png", response_class=FileResponse)
    def frame(run: str, frame: Frame, download: bool = False) -> Response:
        """A finished frame; a downloaded one tells what it was made with."""
        entry = find_run(studio, run)
        if download and has_video(studio.run_folder(entry)):
            name = frame_file(frame)
            file = studio.run_folder(entry) / FRAMES_DIR / name
            if not file.is_file():
                raise not_found(f"frame {frame} of the run {entry.name!r}")
            told = told_of(RunFolder(studio.run_folder(entry)).read_record())
            title = f'attachment; filename="{_plain(entry.name)}-{name}"'
            data = with_texts(file.read_bytes(), {KEY: told})
            return Response(data, 200, {"Content-Disposition": title}, "image/png")
        return sent(entry, studio.run_folder(entry) / FRAMES_DIR / frame_file(frame), "image/png", download)

    @routes.get("/preview.png", response_class=FileResponse)
    def preview(run: str) -> FileResponse:
        """What the model sees finished now, of a run that goes on or was stopped."""
        entry = find_run(studio, run)
        file = studio.run_folder(entry) / UNFINISHED_DIR / PREVIEW_FILE
        made = sent(entry, file, "image/png", False)
        made.headers["Cache-Control"] = "no-store"
        return made

    @routes.get("/frames.zip", response_class=FileResponse)
    def frames_zip(run: str) -> FileResponse:
        """All frames as PNG files."""
        entry = find_run(studio, run)
        place = studio.run_folder(entry)
        return packed(entry, "frames.zip", lambda file: _zip(file, place / FRAMES_DIR, "*.png"))

    @routes.get("/run.zip", response_class=FileResponse)
    def run_zip(run: str) -> FileResponse:
        """The whole run folder."""
        entry = find_run(studio, run)
        place = studio.run_folder(entry)
        return packed(entry, "run.zip", lambda file: _zip(file, place, "**/*"))

    @routes.get("/exr.zip", response_class=FileResponse)
    def exr_zip(run: str) -> FileResponse:
        """What the model was given: depth, UV and objects as EXR files."""
        entry = find_run(studio, run)
        size = [entry.shape["width"], entry.shape["height"]]

        def fill(file: Path) -> None:
            studio.judge.call("exr_zip", EXPORT_TIMEOUT_S, job=entry.job, size=size, file=str(file))

        return packed(entry, "exr.zip", fill)

    @routes.get("/also/{name}", response_class=FileResponse)
    def also(
        run: str,
        name: Literal["alpha.zip", "exr.zip", "mattes.zip", "prores.mov", "upscaled.zip", "upscaled.mp4"],
    ) -> FileResponse:
        """Files that a finished run has got beside its own."""
        entry = find_run(studio, run)
        place = studio.run_folder(entry)
        if not name.endswith(".zip"):
            made = sent(entry, place / name, OF_ALSO[name], True)
            made.headers["Cache-Control"] = "no-cache"  # it may be made again
            return made
        folder = place / name.removesuffix(".zip")
        if not folder.is_dir():
            raise not_found(f"{folder.name} of the run {entry.name!r}")
        return packed(entry, name, lambda file: _zip(file, folder, f"{NUMBERED}.*"))

    @routes.get("/seeds.png", response_class=FileResponse)
    def seeds(run: str, download: bool = False) -> FileResponse:
        """A sheet with four frames of every seed."""
        entry = find_run(studio, run)
        return sent(entry, studio.run_folder(entry) / SEEDS_FILE, "image/png", download)

    @routes.get("/{kind}/{frame}.png", response_class=Response)
    def given(run: str, kind: Literal["depth", "uv", "objects", "shaded"], frame: Frame) -> Response:
        """What the model was given at a frame, as a picture of its size."""
        entry = find_run(studio, run)
        if not entry.shape or frame >= entry.shape["n_frames"]:
            raise not_found(f"frame {frame} of the run {entry.name!r}")
        asked = {
            "frame": frame,
            "time_s": None,
            "mode": kind,
            "width": entry.shape["width"],
            "height": entry.shape["height"],
            "orbit": None,
        }
        _, picture = studio.viewer.call("view", PASS_TIMEOUT_S, job=entry.job, asked=asked)
        return Response(picture, 200, KEPT, "image/png")

    @routes.get("/{name}", response_class=FileResponse)
    def whole(
        run: str, name: Literal["video.mp4", "contact_sheet.png", "config.json"], download: bool = False
    ) -> FileResponse:
        """A file of the run folder; of the video, parts may be asked for (Range)."""
        entry = find_run(studio, run)
        return sent(entry, studio.run_folder(entry) / name, WHOLE_FILES[name], download)

    return routes


def _zip(target: Path, folder: Path, pattern: str) -> None:
    # PNG, MP4 and EXR files are compressed already.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as made:
        for file in sorted(folder.glob(pattern)):
            if file.is_file() and FINISHING_DIR not in file.parts:
                made.write(file, file.relative_to(folder))


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.parent.rmdir()


def _plain(name: str) -> str:
    """A run's name in the name of a file that is downloaded."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60] or "run"

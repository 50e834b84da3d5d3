"""What a helper does with uploads: unpack them, find the scene, and read it for the first time."""

from pathlib import Path
from typing import Any

from genrender.jobs.job import ClipJob, RenderJob, job_to_json
from genrender.server import scene_tasks
from genrender.server.uploads import EXR_MAP, UploadLimits, find_scene, unpack


def receive(folder: str, archives: list[str], limits: dict[str, int]) -> tuple[Any, bytes]:
    """Makes a scene of the files in a folder.

    Args:
        folder: they lie in it.
        archives: names of those that are zips; they are unpacked and go.
        limits: of what the archives hold.

    Returns:
        The place of the scene in the folder, and what `report` says of it.
    """
    place = Path(folder)
    for name in archives:
        archive = place / name
        unpack(archive, place, UploadLimits(**limits))
        archive.unlink()
    scene = find_scene(place)
    exr_map = find_exr_map(scene)
    job = RenderJob(ClipJob(scene, exr_map=exr_map), "")
    found, _ = scene_tasks.report(job_to_json(job))
    return {**found, "scene": scene.relative_to(place).as_posix()}, b""


def find_exr_map(scene: Path) -> Path | None:
    """What lies beside EXR files and tells of their channels."""
    file = scene / EXR_MAP
    return file if file.is_file() else None

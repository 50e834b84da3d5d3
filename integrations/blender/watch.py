"""The job under way: looked at by a timer, so that Blender stays usable, and told to the panel.

A timer, and no modal operator, goes along with the long part: while a modal operator runs, Blender does not
save automatically.
"""

from pathlib import Path

import bpy
import bpy.utils.previews

from . import results
from .ask import output_folder
from .job import FINISHED, JOB_FILE, UNFINISHED, Job, Programs, Request, state

INTERVAL_S = 0.25


class Watch:
    """What goes on in this Blender: one job at a time.

    Attributes:
        job: the last one, under way or ended.
        message: what the last job's end has to say.
    """

    def __init__(self) -> None:
        self.job: Job | None = None
        self.message = ""
        self._pictures: bpy.utils.previews.ImagePreviewCollection | None = None
        self._shown: tuple[str, int] | None = None

    @property
    def is_busy(self) -> bool:
        return self.job is not None and self.job.is_under_way

    def start(self, folder: Path, programs: Programs) -> None:
        """Starts or goes on with a job.

        Raises:
            OSError, ValueError, TypeError: the folder holds no job, or a program cannot be started.
        """
        job = Job(folder, programs)
        job.start()
        self.job, self.message = job, ""
        if not bpy.app.timers.is_registered(tick):
            bpy.app.timers.register(tick, first_interval=INTERVAL_S, persistent=True)

    def cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()
        redraw()

    def picture(self) -> int:
        """The icon of the picture of how it goes; 0: there is none."""
        file = self.job.preview if self.job is not None else None
        if file is None:
            return 0
        key = (str(file), file.stat().st_mtime_ns)
        if self._pictures is None:
            self._pictures = bpy.utils.previews.new()
        if self._shown != key:
            self._pictures.clear()
            self._pictures.load("preview", str(file), "IMAGE")
            self._shown = key
        return self._pictures["preview"].icon_id

    def close(self) -> None:
        """Ends the job; what it has finished stays for the next time."""
        self.cancel()
        if bpy.app.timers.is_registered(tick):
            bpy.app.timers.unregister(tick)
        if self._pictures is not None:
            bpy.utils.previews.remove(self._pictures)
            self._pictures = None


watch = Watch()


def tick() -> float | None:
    """One look at the job; called by Blender's timer, on its main thread."""
    job = watch.job
    if job is None:
        return None
    if job.poll():
        redraw()
    if job.is_under_way:
        return INTERVAL_S
    if job.is_done:
        watch.message = finish(job)
    redraw()
    return None


def finish(job: Job) -> str:
    """Puts what was made where its scene wants it, if the scene is open here; what is to be said about it."""
    scene = next((one for one in bpy.data.scenes if one.genrender.job == str(job.folder)), None)
    if job.request.kind == "preview":
        return ""
    if scene is None:
        return f"the video is in {job.folder}; its scene is not open"
    settings, said = scene.genrender, []
    for is_wanted, put in (
        (settings.as_strip, results.as_strip),
        (settings.as_background, results.as_background),
        (settings.as_material, results.as_material),
    ):
        if is_wanted:
            said.append(put(scene, job.folder))
    return "; ".join(said)


def last_job(scene) -> Path | None:
    """The folder of a scene's last job, if it is there."""
    told = scene.genrender.job
    folder = Path(told) if told else None
    return folder if folder is not None and (folder / JOB_FILE).is_file() else None


def is_resumable(scene) -> bool:
    folder = last_job(scene)
    return folder is not None and state(folder) == UNFINISHED


def is_finished(scene) -> bool:
    folder = last_job(scene)
    return folder is not None and state(folder) == FINISHED and (folder / "run").is_dir()


def find_jobs(_file=None, _more=None) -> None:
    """After a file was opened: a job that was begun after the file was last saved is found in its folder."""
    if not bpy.data.filepath:
        return
    for scene in bpy.data.scenes:
        if last_job(scene) is not None or not (root := output_folder(scene)).is_dir():
            continue
        for folder in sorted((file.parent for file in root.glob(f"*/{JOB_FILE}")), reverse=True):
            try:
                request = Request.load(folder)
            except (OSError, ValueError, TypeError):
                continue  # no job of ours
            if request.scene == scene.name and request.blend == bpy.data.filepath and request.kind == "video":
                scene.genrender.job = str(folder)
                break


find_jobs = bpy.app.handlers.persistent(find_jobs)


def redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "PREFERENCES"):
                area.tag_redraw()


def register() -> None:
    bpy.app.handlers.load_post.append(find_jobs)


def unregister() -> None:
    bpy.app.handlers.load_post.remove(find_jobs)
    watch.close()

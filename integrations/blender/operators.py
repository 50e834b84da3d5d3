"""What the panel's buttons do."""

from dataclasses import replace

import bpy

from . import ask, results
from .engine import EngineError
from .job import JOB_FILE, Request
from .preferences import engine_of
from .watch import INTERVAL_S, is_finished, is_resumable, last_job, watch


class Begins(bpy.types.Operator):
    """What starts a job.

    With a window, Esc ends it while Blender renders passes, as it ends a render. The engine's part, which
    takes long, has no modal operator: Blender would not save automatically.
    """

    bl_options = {"REGISTER"}
    _timer = None

    @classmethod
    def poll(cls, _context) -> bool:
        if watch.is_busy:
            cls.poll_message_set("a video is in the making")
            return False
        return True

    def begin(self, context) -> bool:
        raise NotImplementedError

    def execute(self, context) -> set[str]:
        return {"FINISHED"} if self.begin(context) else {"CANCELLED"}

    def invoke(self, context, _event) -> set[str]:
        if not self.begin(context):
            return {"CANCELLED"}
        if context.window is None or bpy.app.background:
            return {"FINISHED"}
        self._timer = context.window_manager.event_timer_add(INTERVAL_S, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event) -> set[str]:
        job = watch.job
        if job is not None and job.stage == "passes":
            if event.type == "ESC" and event.value == "PRESS":
                watch.cancel()
            else:
                context.workspace.status_text_set(f"genrender: {job.progress}   Esc: Cancel")
                return {"PASS_THROUGH"}
        context.workspace.status_text_set(None)
        context.window_manager.event_timer_remove(self._timer)
        return {"FINISHED"}

    def start(self, context, folder) -> bool:
        """Starts the job of a folder; says why where that cannot be."""
        try:
            engine = engine_of(context)
            watch.start(folder, ask.programs(engine.command))
        except (EngineError, OSError, ValueError, TypeError) as error:
            self.report({"ERROR"}, str(error))
            return False
        return True

    def begin_new(self, context, kind: str) -> bool:
        try:
            engine_of(context)  # before anything is written
            folder = ask.make_job(context.scene, context.view_layer, kind)
        except (EngineError, ask.AskError) as error:
            self.report({"ERROR"}, str(error))
            return False
        if kind == "video":
            context.scene.genrender.job = str(folder)
        return self.start(context, folder)


class GENRENDER_OT_generate(Begins):
    bl_idname = "genrender.generate"
    bl_label = "Generate"
    bl_description = "Make a video of the scene's frames, seen by its camera"

    def begin(self, context) -> bool:
        return self.begin_new(context, "video")


class GENRENDER_OT_preview_passes(Begins):
    bl_idname = "genrender.preview_passes"
    bl_label = "Preview passes"
    bl_description = "Show depth, texture coordinates and objects of some frames, without any model"

    def begin(self, context) -> bool:
        return self.begin_new(context, "preview")


class GENRENDER_OT_resume(Begins):
    bl_idname = "genrender.resume"
    bl_label = "Resume"
    bl_description = "Go on with the last video of this scene, from what is finished of it"

    @classmethod
    def poll(cls, context) -> bool:
        return not watch.is_busy and is_resumable(context.scene)

    def begin(self, context) -> bool:
        folder = last_job(context.scene)
        try:
            request = Request.load(folder)
            replace(request, offline=not bpy.app.online_access).save(folder)
        except (OSError, ValueError, TypeError) as error:
            self.report({"ERROR"}, f"{folder / JOB_FILE}: {error}")
            return False
        return self.start(context, folder)


class GENRENDER_OT_cancel(bpy.types.Operator):
    bl_idname = "genrender.cancel"
    bl_label = "Cancel"
    bl_description = "Stop; Resume goes on from what is finished"

    @classmethod
    def poll(cls, _context) -> bool:
        return watch.is_busy

    def execute(self, _context) -> set[str]:
        watch.cancel()
        return {"FINISHED"}


class GENRENDER_OT_enlarge(bpy.types.Operator):
    bl_idname = "genrender.enlarge"
    bl_label = "Enlarge"
    bl_description = "Show this picture in an image editor"

    @classmethod
    def poll(cls, _context) -> bool:
        return watch.job is not None and watch.job.preview is not None

    def execute(self, _context) -> set[str]:
        results.open_picture(watch.job.preview)
        return {"FINISHED"}


class GENRENDER_OT_show(bpy.types.Operator):
    bl_idname = "genrender.show"
    bl_label = "Show"
    bl_description = "Put the last video of this scene somewhere else, too"
    bl_options = {"REGISTER", "UNDO"}

    where: bpy.props.EnumProperty(
        name="Where",
        items=[
            ("STRIP", "Sequencer", "A strip of the sequencer"),
            ("BACKGROUND", "Camera background", "In front of the camera's view"),
            ("MATERIAL", "Material", "Projected onto the objects that took part"),
            ("NO_MATERIAL", "Own materials", "Objects show their own materials again"),
        ],
    )

    @classmethod
    def poll(cls, context) -> bool:
        return is_finished(context.scene)

    def execute(self, context) -> set[str]:
        put = {
            "STRIP": results.as_strip,
            "BACKGROUND": results.as_background,
            "MATERIAL": results.as_material,
            "NO_MATERIAL": results.without_material,
        }[self.where]
        self.report({"INFO"}, put(context.scene, last_job(context.scene)))
        return {"FINISHED"}


CLASSES = (
    GENRENDER_OT_generate,
    GENRENDER_OT_preview_passes,
    GENRENDER_OT_resume,
    GENRENDER_OT_cancel,
    GENRENDER_OT_enlarge,
    GENRENDER_OT_show,
)


def register() -> None:
    for one in CLASSES:
        bpy.utils.register_class(one)


def unregister() -> None:
    for one in reversed(CLASSES):
        bpy.utils.unregister_class(one)

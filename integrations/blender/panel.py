"""The panel in the sidebar of the 3D viewport."""

import bpy

from .ask import things
from .engine import EngineError
from .installing import draw_install, installing
from .labels import lines
from .preferences import engine_of
from .watch import is_finished, is_resumable, watch

# Objects with prompts of their own that are listed.
N_LISTED = 20


class GenrenderPanel(bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "genrender"


class GENRENDER_PT_main(GenrenderPanel):
    bl_label = "genrender"

    def draw(self, context) -> None:
        layout, scene = self.layout, context.scene
        settings = scene.genrender
        layout.use_property_split = True
        layout.use_property_decorate = False
        try:
            engine_of(context)
        except EngineError as error:
            box = layout.box()
            if not installing.is_busy:
                box.label(text="The engine is not here", icon="ERROR")
                lines(box.column(align=True), str(error))
            draw_install(box)
            box.operator("preferences.addon_show", text="Preferences").module = __package__
        column = layout.column()
        column.prop(settings, "prompt")
        column.prop(settings, "negative_prompt")
        column.prop(settings, "preset")
        column.prop(settings, "model")
        column = layout.column(align=True)
        column.prop(scene, "frame_start", text="Frames")
        column.prop(scene, "frame_end", text="To")
        layout.prop(scene, "camera")
        column = layout.column(align=True)
        column.scale_y = 1.3
        column.operator("genrender.preview_passes", icon="RENDERLAYERS")
        column.operator("genrender.generate", icon="RENDER_ANIMATION")
        if is_resumable(scene) and not watch.is_busy:
            column.operator("genrender.resume", icon="PLAY")
        draw_progress(layout)


def draw_progress(layout) -> None:
    """How far the last job is, what it says and what it looks like."""
    job = watch.job
    if job is None:
        return
    if job.is_under_way:
        row = layout.row(align=True)
        row.progress(factor=job.done / job.total if job.total else 0.0, text=job.progress)
        row.operator("genrender.cancel", text="", icon="X")
    elif job.error:
        box = layout.box()
        box.label(text="It ended with an error", icon="ERROR")
        lines(box, job.error)
    elif job.is_cancelled:
        layout.label(text="Cancelled", icon="CANCEL")
    if watch.message:
        lines(layout.column(align=True), watch.message)
    if icon := watch.picture():
        layout.template_icon(icon_value=icon, scale=10)
        layout.operator("genrender.enlarge", icon="FULLSCREEN_ENTER")
    for warning in job.warnings:
        lines(layout.column(align=True), warning, icon="ERROR")
    # Models that are loaded, and how long it will take, are nothing to keep.
    for note in job.notes if job.is_under_way else ():
        lines(layout.column(align=True), note, icon="INFO")


class GENRENDER_PT_objects(GenrenderPanel):
    bl_label = "Objects"
    bl_parent_id = "GENRENDER_PT_main"

    def draw(self, context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        for thing, icon in ((context.object, "OBJECT_DATA"), (context.collection, "OUTLINER_COLLECTION")):
            if thing is not None:
                column = layout.column(align=True)
                column.label(text=thing.name, icon=icon)
                column.enabled = not thing.library
                column.prop(thing.genrender, "takes_part")
                column.prop(thing.genrender, "prompt")
        said = [(thing.name, takes_part, prompt) for thing, takes_part, prompt in things(context.scene)]
        said = [one for one in said if one[2] or not one[1]]
        column = layout.column(align=True)
        for name, takes_part, prompt in said[:N_LISTED]:
            column.label(text=f"{name}: {prompt}" if takes_part else f"{name} is left out")
        if len(said) > N_LISTED:
            column.label(text=f"and {len(said) - N_LISTED} more")


class GENRENDER_PT_settings(GenrenderPanel):
    bl_label = "Settings"
    bl_parent_id = "GENRENDER_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context) -> None:
        layout, settings = self.layout, context.scene.genrender
        layout.use_property_split = True
        layout.use_property_decorate = False
        for name in ("size", "seed", "road"):
            layout.prop(settings, name)
        row = layout.row()
        row.enabled = settings.road == "exr"
        row.prop(settings, "charts")
        layout.prop(settings, "options")
        layout.prop(settings, "folder")


class GENRENDER_PT_results(GenrenderPanel):
    bl_label = "Result"
    bl_parent_id = "GENRENDER_PT_main"

    def draw(self, context) -> None:
        layout, settings = self.layout, context.scene.genrender
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column(heading="Add to", align=True)
        for name in ("as_strip", "as_background", "as_material"):
            column.prop(settings, name)
        if is_finished(context.scene):
            layout.operator_menu_enum("genrender.show", "where", text="Show the last video in")


CLASSES = (GENRENDER_PT_main, GENRENDER_PT_objects, GENRENDER_PT_settings, GENRENDER_PT_results)


def register() -> None:
    for one in CLASSES:
        bpy.utils.register_class(one)


def unregister() -> None:
    for one in reversed(CLASSES):
        bpy.utils.unregister_class(one)

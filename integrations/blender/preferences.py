"""What holds for all files: where the engine is, and how it comes there."""

import bpy

from .engine import Engine, EngineError, find_engine
from .installing import draw_install, engine_folder, installing
from .labels import lines


class GenrenderPreferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    engine: bpy.props.StringProperty(
        name="Engine",
        description="The program genrender, or the folder of the environment that it is installed in. "
        "Empty: the one that was installed here, else the one on PATH",
        subtype="FILE_PATH",
    )
    source: bpy.props.StringProperty(
        name="Install from",
        description="A package index (https://...), a folder of wheels, or a wheel of genrender. "
        "Empty: the index that pip knows",
        subtype="FILE_PATH",
    )

    def draw(self, context) -> None:
        layout = self.layout
        layout.prop(self, "engine")
        try:
            engine = engine_of(context)
        except EngineError as error:
            if not installing.is_busy:
                lines(layout.column(align=True), str(error), icon="ERROR")
        else:
            layout.label(text=f"{engine.command[0]} (from {engine.where})", icon="CHECKMARK")
        layout.prop(self, "source")
        draw_install(layout)


def preferences(context) -> GenrenderPreferences:
    return context.preferences.addons[__package__].preferences


def engine_of(context) -> Engine:
    """The engine that jobs use.

    Raises:
        EngineError: there is none.
    """
    return find_engine(preferences(context).engine, engine_folder())


def register() -> None:
    bpy.utils.register_class(GenrenderPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(GenrenderPreferences)

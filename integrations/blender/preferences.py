"""What holds for all files: where the engine is."""

import bpy

from .engine import EngineError, find_engine


class GenrenderPreferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    engine: bpy.props.StringProperty(
        name="Engine",
        description="The program genrender, or the folder of the environment that it is installed in. "
        "Empty: the one on PATH",
        subtype="FILE_PATH",
    )

    def draw(self, _context) -> None:
        layout = self.layout
        layout.prop(self, "engine")
        try:
            engine = find_engine(self.engine)
        except EngineError as error:
            layout.label(text=str(error), icon="ERROR")
        else:
            layout.label(text=f"{engine.command[0]} (from {engine.where})", icon="CHECKMARK")


def preferences(context) -> GenrenderPreferences:
    return context.preferences.addons[__package__].preferences


def register() -> None:
    bpy.utils.register_class(GenrenderPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(GenrenderPreferences)

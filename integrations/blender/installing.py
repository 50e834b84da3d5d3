"""The engine's installation: its buttons, and a timer that looks how it goes."""

import sys
from pathlib import Path

import bpy

from .engine import wanted_version
from .install import Install, InstallError, Source
from .job import surroundings
from .labels import lines
from .watch import INTERVAL_S, redraw, watch


class Installing:
    """The installation of this Blender; one at a time.

    Attributes:
        install: the last one, under way or ended.
    """

    install: Install | None = None

    @property
    def is_busy(self) -> bool:
        return self.install is not None and self.install.is_under_way

    def cancel(self) -> None:
        if self.install is not None:
            self.install.cancel()


installing = Installing()


def tick() -> float | None:
    """One look at the installation; called by Blender's timer, on its main thread."""
    install = installing.install
    if install is None:
        return None
    if install.poll():
        redraw()
    return INTERVAL_S if install.is_under_way else None


def engine_folder() -> Path:
    """Where the add-on installs the engine."""
    return Path(bpy.utils.extension_path_user(__package__, path="engine"))


def draw_install(layout) -> None:
    """The button, or how it goes, and how the last try ended."""
    install = installing.install
    if installing.is_busy:
        row = layout.row(align=True)
        lines(row.column(align=True), install.work, icon="SORTTIME")
        row.operator("genrender.cancel_install", text="", icon="X")
        return
    layout.operator("genrender.install_engine", icon="IMPORT")
    if install is not None and install.error:
        lines(layout.column(align=True), install.error, icon="ERROR")
    elif install is not None and install.is_cancelled:
        layout.label(text="Cancelled", icon="CANCEL")


class GENRENDER_OT_install_engine(bpy.types.Operator):
    bl_idname = "genrender.install_engine"
    bl_label = "Install engine"
    bl_description = (
        "Install genrender into a folder of this add-on: some gigabytes. Nothing is installed into Blender"
    )

    @classmethod
    def poll(cls, _context) -> bool:
        if installing.is_busy or watch.is_busy:
            cls.poll_message_set("something is under way")
            return False
        return True

    def execute(self, context) -> set[str]:
        told = context.preferences.addons[__package__].preferences.source.strip()
        source = Source(told, bpy.app.online_access)
        install = Install(engine_folder(), sys.executable, wanted_version(), source, surroundings())
        try:
            install.start()
        except (InstallError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        installing.install = install
        if not bpy.app.timers.is_registered(tick):
            bpy.app.timers.register(tick, first_interval=INTERVAL_S, persistent=True)
        return {"FINISHED"}


class GENRENDER_OT_cancel_install(bpy.types.Operator):
    bl_idname = "genrender.cancel_install"
    bl_label = "Cancel"
    bl_description = "Stop the installation"

    @classmethod
    def poll(cls, _context) -> bool:
        return installing.is_busy

    def execute(self, _context) -> set[str]:
        installing.cancel()
        redraw()
        return {"FINISHED"}


CLASSES = (GENRENDER_OT_install_engine, GENRENDER_OT_cancel_install)


def register() -> None:
    for one in CLASSES:
        bpy.utils.register_class(one)


def unregister() -> None:
    installing.cancel()
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    for one in reversed(CLASSES):
        bpy.utils.unregister_class(one)

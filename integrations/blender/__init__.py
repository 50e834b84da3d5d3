"""genrender in Blender: an animation and a sentence become a video whose surfaces keep their look."""

from . import installing, operators, panel, preferences, properties, watch

PARTS = (installing, preferences, properties, operators, panel, watch)


def register() -> None:
    for part in PARTS:
        part.register()


def unregister() -> None:
    for part in reversed(PARTS):
        part.unregister()

"""Texts on several lines: labels of Blender do not break."""

import bpy

# Pixels of a letter, and of what stands beside a text, at the interface's usual size.
LETTER, BESIDE = 7.0, 60


def lines(layout, text: str, icon: str = "NONE") -> None:
    """A text on as many lines as the region's width asks for."""
    scale = bpy.context.preferences.system.ui_scale or 1.0  # 0: Blender has no window
    letters = max(20, int((bpy.context.region.width / scale - BESIDE) / LETTER))
    line = ""
    for word in text.split():
        if line and len(line) + len(word) > letters:
            layout.label(text=line, icon=icon)
            line, icon = "", "BLANK1" if icon != "NONE" else "NONE"
        line = f"{line} {word}".strip()
    layout.label(text=line, icon=icon)

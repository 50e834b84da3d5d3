"""The panel draws in every state; without a window, our own layout looks whether what it names is there."""

from types import SimpleNamespace

import bpy
import character
import pytest


class Layout:
    """Takes what Blender's layout takes, and keeps the texts; names that are not there raise."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def prop(self, owner, name: str, text: str | None = None) -> None:
        known = owner.bl_rna.properties[name]
        self.texts.append(known.name if text is None else text)

    def operator(self, name: str, text: str | None = None, icon: str = "NONE") -> SimpleNamespace:
        room, _, word = name.partition(".")
        kind = getattr(getattr(bpy.ops, room), word).get_rna_type()
        self._icon(icon)
        self.texts.append(kind.name if text is None else text)
        return SimpleNamespace()

    def operator_menu_enum(self, name: str, choice: str, text: str) -> None:
        room, _, word = name.partition(".")
        assert getattr(getattr(bpy.ops, room), word).get_rna_type().properties[choice].type == "ENUM"
        self.texts.append(text)

    def label(self, text: str, icon: str = "NONE") -> None:
        self._icon(icon)
        self.texts.append(text)

    def progress(self, factor: float, text: str) -> None:
        assert 0 <= factor <= 1
        self.texts.append(text)

    def template_icon(self, icon_value: int, scale: float) -> None:
        assert icon_value > 0
        assert scale > 1
        self.texts.append("(a picture)")

    def row(self, **_how) -> "Layout":
        return Layout(self.texts)

    column = box = row

    def _icon(self, name: str) -> None:
        icons = bpy.types.UILayout.bl_rna.functions["prop"].parameters["icon"].enum_items
        assert name in icons, name


def drawn(extension) -> list[str]:
    """All texts of the panels, as they are now."""
    texts: list[str] = []
    preferences = extension.preferences.preferences(bpy.context)
    stand_in = SimpleNamespace(layout=Layout(texts), engine=preferences.engine, bl_rna=preferences.bl_rna)
    (window,) = bpy.context.window_manager.windows
    (area,) = [one for one in window.screen.areas if one.type == "VIEW_3D"]
    (region,) = [one for one in area.regions if one.type == "UI"]
    with bpy.context.temp_override(window=window, area=area, region=region):
        for panel in extension.panel.CLASSES:
            panel.draw(SimpleNamespace(layout=Layout(texts)), bpy.context)
        type(preferences).draw(stand_in, bpy.context)
    return texts


@pytest.mark.usefixtures("scene")
def test_at_rest(extension, monkeypatch):
    monkeypatch.setattr(extension.watch.watch, "job", None)
    monkeypatch.setattr(extension.watch.watch, "message", "")
    bpy.context.view_layer.objects.active = bpy.data.objects[character.CRATE]
    texts = drawn(extension)
    for name in (
        "Prompt",
        "Preset",
        "Model",
        "Camera",
        "Preview passes",
        "Generate",
        "Take part",
        "Size",
        "UVs",
    ):
        assert name in texts
    assert "Crate = [1]: a blue cube" in texts
    assert "Ground is left out" in texts
    assert not {"Resume", "The engine is not here"} & set(texts)


@pytest.mark.usefixtures("scene")
def test_without_an_engine(extension, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    preferences = extension.preferences.preferences(bpy.context)
    told, preferences.engine = preferences.engine, ""
    try:
        texts = drawn(extension)
    finally:
        preferences.engine = told
    assert "The engine is not here" in texts
    assert "Preferences" in texts


def test_while_it_goes_on_and_after(extension, scene, finished, monkeypatch):
    watch = extension.watch.watch
    monkeypatch.setattr(watch, "job", finished.job)
    monkeypatch.setattr(watch, "message", "strip genrender on channel 1")
    texts = drawn(extension)
    # Without a window there are no icons, but the picture is read.
    extension.watch.watch.picture()
    assert tuple(watch._pictures["preview"].image_size) != (0, 0)
    assert "strip genrender on channel 1" in " ".join(texts)  # on several lines
    scene.genrender.job = str(finished.job.folder)
    assert "Show the last video in" in drawn(extension)
    going = extension.job.Job(finished.job.folder, finished.job.programs, work="diffusion", done=1, total=2)
    going._process = object()  # something goes on
    monkeypatch.setattr(watch, "job", going)
    assert "diffusion 1/2" in drawn(extension)
    # Notes are for the time in which it goes on; what may be wrong with the video stays.
    note, warning = "loading model pocket", "left out, because it has no surface to paint on: hair (Fur)"
    for event, text in (("note", note), ("warning", warning), ("warning", warning)):
        going._take({"event": event, "text": text})
    texts = " ".join(drawn(extension))
    assert note in texts
    assert texts.count(warning) == 1
    going._process = None
    texts = " ".join(drawn(extension))
    assert note not in texts
    assert texts.count(warning) == 1
    wrong = extension.job.Job(finished.job.folder, finished.job.programs, error="the model is not there")
    monkeypatch.setattr(watch, "job", wrong)
    assert "the model is not there" in " ".join(drawn(extension))

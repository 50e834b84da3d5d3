"""From the button to the sequencer, and everything that can come in between."""

import json
import zipfile
from pathlib import Path

import bpy
import character
from conftest import extension_tool


def opened(finished):
    bpy.ops.wm.open_mainfile(filepath=str(finished.file))
    return bpy.context.scene


def test_the_package_is_valid_and_has_no_more_than_it_needs(package):
    extension_tool("validate", package)
    assert package.stat().st_size < 100_000
    names = zipfile.ZipFile(package).namelist()
    assert "blender_manifest.toml" in names
    assert {Path(name).suffix for name in names} == {".py", ".toml"}


def test_a_character_becomes_a_strip(finished):
    scene = opened(finished)
    (strip,) = scene.sequence_editor.strips
    first, last = character.FRAMES
    assert (strip.frame_final_start, strip.frame_final_end) == (first, last + 1)
    assert len(strip.elements) == len(finished.frames) == last - first + 1
    folder = bpy.path.abspath(strip.directory)
    assert folder.rstrip("/") == str(finished.job.folder / "run" / "frames")
    told = json.loads((finished.job.folder / "run" / "config.json").read_text(encoding="utf-8"))
    assert "a blue cube" in json.dumps(told)
    assert "new texture coordinates, because they were missing: Läufer" in finished.job.notes
    # The copy is gone, and the user's own mesh is as it was.
    assert not (finished.job.folder / "scene.blend").exists()
    thing = bpy.data.objects[character.CHARACTER]
    assert not thing.data.uv_layers
    assert [one.type for one in thing.modifiers] == ["MIRROR", "ARMATURE", "SUBSURF"]
    assert bpy.data.objects[character.GROUND].visible_camera
    assert scene.render.engine != "CYCLES"

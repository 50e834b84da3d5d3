"""From the button to the sequencer, and everything that can come in between."""

import json
import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

import bpy
import character
import pytest
from conftest import extension_tool, frames_of


def test_the_package_is_valid_and_has_no_more_than_it_needs(package):
    extension_tool("validate", package)
    names = zipfile.ZipFile(package).namelist()
    assert "blender_manifest.toml" in names
    assert {Path(name).suffix for name in names} == {".py", ".toml"}


def test_a_character_becomes_a_strip(finished):
    bpy.ops.wm.open_mainfile(filepath=str(finished.file))
    scene = bpy.context.scene
    (strip,) = character.strips(scene)
    first, last = character.FRAMES
    assert (strip.frame_final_start, strip.frame_final_end) == (first, last + 1)
    assert len(strip.elements) == len(finished.frames) == last - first + 1
    assert Path(bpy.path.abspath(strip.directory)) == finished.job.folder / "run" / "frames"
    told = json.loads((finished.job.folder / "run" / "config.json").read_text(encoding="utf-8"))
    assert "a blue cube" in json.dumps(told)
    assert "new texture coordinates, because they were missing: Läufer" in finished.job.notes
    # The copy is gone, and the user's scene is as it was.
    assert not (finished.job.folder / "scene.blend").exists()
    thing = bpy.data.objects[character.CHARACTER]
    assert not thing.data.uv_layers
    assert [one.type for one in thing.modifiers] == ["MIRROR", "ARMATURE", "SUBSURF"]
    assert bpy.data.objects[character.GROUND].visible_camera
    assert scene.render.engine != "CYCLES"


GO_ON = """
import importlib, os, sys, time
import bpy
bpy.ops.preferences.addon_enable(module="bl_ext.user_default.genrender")
bpy.context.preferences.addons["bl_ext.user_default.genrender"].preferences.engine = {engine!r}
bpy.ops.wm.open_mainfile(filepath={file!r})
watch = importlib.import_module("bl_ext.user_default.genrender.watch").watch
bpy.ops.genrender.resume()
while not (watch.job.work == "diffusion" and watch.job.done):
    watch.job.poll()
    assert watch.job.is_under_way, watch.job.error
    time.sleep(0.05)
os._exit(0)
"""


# A script of the file itself, which runs where it is rendered: one frame takes until another file is there.
SLOW = """
import time
from pathlib import Path
import bpy

def wait(scene, *_):
    while scene.frame_current == {frame} and not Path({go!r}).exists():
        time.sleep(0.01)

bpy.app.handlers.render_pre.append(wait)
"""


def test_stopped_three_times_and_gone_on_with(finished, scene, engine, extension, wait, tmp_path):
    """The frames are those of a video that was never stopped."""
    text = bpy.data.texts.new("slow.py")
    text.write(SLOW.format(frame=character.FRAMES[1], go=str(tmp_path / "go")))
    text.use_module = True
    file = str(character.save(Path(bpy.data.filepath).parent))
    # In the middle of the passes,
    bpy.ops.genrender.generate()
    job = wait(lambda job: job.done >= 3)
    assert job.stage == "passes"
    bpy.ops.genrender.cancel()
    assert job.is_cancelled
    assert not job.is_under_way
    assert len(list((job.folder / "passes").glob("*.exr"))) == 3
    assert not bpy.ops.genrender.cancel.poll()
    # before the engine has anything,
    (tmp_path / "go").touch()
    bpy.ops.genrender.resume()
    wait(lambda job: job.stage == "engine")
    bpy.ops.genrender.cancel()
    assert len(list((job.folder / "passes").glob("*.exr"))) == len(finished.frames)
    # and by the end of another Blender, which finds the job of a file that was not saved since.
    subprocess.run([sys.executable, "-c", GO_ON.format(file=file, engine=str(engine))], check=True)
    assert (job.folder / "run" / "unfinished" / "request.json").is_file()

    bpy.ops.wm.open_mainfile(filepath=file)
    scene = bpy.context.scene
    assert Path(scene.genrender.job) == job.folder
    assert extension.job.state(job.folder) == extension.job.UNFINISHED
    bpy.ops.genrender.resume()
    while "another process is at work" in wait().error:  # the engine has not noticed yet
        bpy.ops.genrender.resume()
    assert extension.watch.watch.job.is_done
    assert frames_of(job.folder) == finished.frames
    assert len(character.strips(scene)) == 1
    assert not bpy.ops.genrender.resume.poll()


def test_passes_are_looked_at_in_a_file_that_is_not_saved(extension, wait):
    scene = character.make_scene()
    character.set_up(scene)
    assert not bpy.data.filepath
    bpy.ops.genrender.preview_passes()
    job = wait()
    assert job.is_done, job.error
    assert bpy.utils.extension_path_user(extension.watch.__package__) in str(job.folder)
    assert job.preview == job.folder / "preview" / "contact_sheet.png"
    bpy.ops.genrender.enlarge()
    picture = next(image for image in bpy.data.images if image.filepath == str(job.preview))
    assert min(picture.size) > 100
    assert not scene.genrender.job  # a look is no video


def cut_in_usd(scene):
    scene.genrender.road = "usd"
    cameras = scene.camera, scene.camera.copy()
    scene.collection.objects.link(cameras[1])
    for frame, camera in zip(character.FRAMES, cameras, strict=True):
        scene.timeline_markers.new("cut", frame=frame).camera = camera


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scene: setattr(scene, "camera", None), "scene Scene has no camera"),
        (lambda scene: setattr(scene.genrender, "prompt", " "), "the prompt is empty"),
        (lambda scene: setattr(scene.genrender, "options", "--lora 'ink"), "options"),
        (lambda scene: setattr(scene.collection.genrender, "takes_part", False), "no object takes part"),
        (cut_in_usd, "markers change the camera, which passes by Cycles alone can show"),
        (lambda scene: setattr(scene.genrender, "folder", "/dev/null/videos"), "cannot write to /dev/null"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(scene, change, message):
    change(scene)
    with pytest.raises(RuntimeError, match=message):
        bpy.ops.genrender.generate()
    assert not Path(bpy.path.abspath("//genrender")).exists()
    assert not scene.genrender.job


def test_errors_of_both_programs_arrive(scene, wait):
    scene.genrender.model = "no-such-model.safetensors"
    bpy.ops.genrender.generate()
    assert "no-such-model.safetensors" in wait().error
    scene.camera.data.type = "PANO"
    bpy.ops.genrender.generate()
    assert "panoramic" in wait().error


def test_a_blender_that_ends_without_passes_is_an_error(scene, extension):
    """Its exit code is 0 even where a script could not begin."""
    folder = extension.ask.make_job(scene, bpy.context.view_layer, "video")
    says = "import sys; print('ModuleNotFoundError: no numpy', file=sys.stderr); print('Blender quit')"
    programs = extension.job.Programs((sys.executable, "-c", says), ("genrender",), {})
    job = extension.job.Job(folder, programs)
    job.start()
    while job.is_under_way:
        job.poll()
        time.sleep(0.05)
    assert job.error == "ModuleNotFoundError: no numpy"


def test_an_engine_that_is_not_there(extension, monkeypatch, tmp_path):
    find = partial(extension.engine.find_engine, own=tmp_path / "nothing")
    with pytest.raises(extension.engine.EngineError, match="there is no genrender at"):
        find(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(extension.engine.EngineError, match="no genrender on PATH"):
        find("")
    program = tmp_path / "genrender"
    program.write_text("")
    program.chmod(0o755)
    assert find("").command == (str(program),)


@pytest.mark.usefixtures("scene")
def test_settings_are_kept_in_the_file():
    bpy.data.objects[character.CRATE].users_collection[0].genrender.prompt = "a house"
    character.save(Path(bpy.data.filepath).parent)
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    settings = bpy.context.scene.genrender
    assert (settings.prompt, settings.size) == ("a red robot on a green background", 64)
    crate = bpy.data.objects[character.CRATE]
    assert (crate.genrender.prompt, crate.users_collection[0].genrender.prompt) == ("a blue cube", "a house")
    assert not bpy.data.objects[character.GROUND].genrender.takes_part

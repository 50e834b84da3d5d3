"""Where the video goes: a strip with the right colours, the camera's background, a material."""

import bpy
import character
import numpy as np
import pytest
from character import FRAMES

FRAME = 6


@pytest.fixture
def shown(finished):
    """The scene of the shared video, opened anew, at the video's size and without the strip."""
    bpy.ops.wm.open_mainfile(filepath=str(finished.file))
    scene, (width, height) = bpy.context.scene, finished.job.request.size
    character.strips(scene)[0].mute = True
    render = scene.render
    render.resolution_x, render.resolution_y = width, height
    render.pixel_aspect_x, render.pixel_aspect_y = finished.job.request.pixel_aspect
    render.engine, scene.cycles.samples, scene.cycles.pixel_filter_type = "CYCLES", 1, "BOX"
    scene.cycles.filter_width, scene.cycles.use_denoising, scene.cycles.device = 0.01, False, "CPU"
    render.film_transparent, render.use_sequencer = True, False
    bpy.data.objects[character.GROUND].hide_render = True
    return scene


def picture(path) -> np.ndarray:
    """The numbers of a picture file as they are, [height, width, 4], rows from below."""
    image = bpy.data.images.load(str(path), check_existing=False)
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    return np.array(image.pixels[:]).reshape(height, width, 4)


def seen_and_made(scene, finished, tmp_path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What Blender renders of one of the video's frames, that frame, and the last one."""
    scene.render.image_settings.file_format, scene.render.filepath = "PNG", str(tmp_path / "seen.png")
    scene.frame_set(FRAME)
    bpy.ops.render.render(write_still=True)
    frames = finished.job.folder / "run" / "frames"
    made, other = (picture(frames / f"{one - FRAMES[0]:05d}.png") for one in (FRAME, FRAMES[-1]))
    return picture(tmp_path / "seen.png"), made, other


# What view transforms make of saturated colours cannot be undone for all of them.
COLOURS = [("Standard", 0.005), ("AgX", 0.05)]


@pytest.mark.parametrize(("view", "most"), COLOURS)
def test_the_material_shows_the_frame_where_the_camera_sees_it(
    shown, finished, tmp_path, extension, view, most
):
    shown.view_settings.view_transform = view
    thing, own = bpy.data.objects[character.CRATE], bpy.data.materials.new("own")
    thing.data.materials.append(own)
    said = extension.results.as_material(shown, finished.job.folder)
    assert said == "material genrender on 2 objects"
    seen, made, other = seen_and_made(shown, finished, tmp_path)
    objects = seen[..., 3] > 0.99
    assert objects.mean() > 0.05
    wrong = np.abs(seen - made)[objects][:, :3].mean()
    assert wrong < most
    assert wrong < np.abs(seen - other)[objects][:, :3].mean() / 2
    assert thing.data.materials[0] is own
    extension.results.without_material(shown, finished.job.folder)
    assert [slot.material for slot in thing.material_slots] == [own]
    assert not bpy.data.objects[character.CHARACTER].material_slots[0].material


@pytest.mark.parametrize(("view", "most"), COLOURS)
def test_the_strip_shows_the_frame(shown, finished, tmp_path, extension, view, most):
    shown.view_settings.view_transform = view
    extension.results.as_strip(shown, finished.job.folder)
    shown.render.use_sequencer = True
    seen, made, other = seen_and_made(shown, finished, tmp_path)
    wrong = np.abs(seen - made)[..., :3].mean()
    assert wrong < most
    assert wrong < np.abs(seen - other)[..., :3].mean() / 2


def test_the_camera_has_it_as_background_once(shown):
    theirs = shown.camera.data.background_images.new()
    theirs.image = bpy.data.images.new("theirs", 8, 8)
    n_images = len(bpy.data.images)
    for _ in range(2):
        bpy.ops.genrender.show(where="BACKGROUND")
    first, background = shown.camera.data.background_images
    assert first.image.name == "theirs"
    assert len(bpy.data.images) == n_images + 1
    user = background.image_user
    assert background.image.source == "SEQUENCE"
    assert (user.frame_start, user.frame_duration, user.frame_offset) == (FRAMES[0], 4, -1)


def test_the_camera_is_gone_meanwhile(shown, finished, extension):
    shown.camera = None
    shown.genrender.as_background = shown.genrender.as_material = True
    said = extension.watch.finish(finished.job)
    assert said.count("the scene has no camera any more") == 2
    assert said.startswith("strip genrender")


def test_a_second_video_lies_above_the_first(shown):
    bpy.ops.genrender.show(where="STRIP")
    assert [strip.channel for strip in character.strips(shown)] == [1, 2]

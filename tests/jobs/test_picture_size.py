"""The shape of pictures: a camera of the file decides, unless --size says both sides."""

import pytest
from scene.gltf_builder import SQUARE, GltfBuilder

from genrender.errors import SceneError
from genrender.jobs.clips import picture_size
from genrender.runs.hooks import RunHooks
from genrender.scene.load import load_scene
from genrender.scene.scene import Scene


def filmed(folder, aspect: float | None) -> Scene:
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3]), name="card")
    lens = {"yfov": 0.5, "znear": 0.1} | ({} if aspect is None else {"aspectRatio": aspect})
    builder.doc["cameras"] = [{"type": "perspective", "perspective": lens}]
    builder.node(camera=0, name="Shot")
    return load_scene(builder.save(folder / "card.glb"))


@pytest.mark.parametrize(
    ("aspect", "wanted", "size"),
    [
        (16 / 9, None, (168, 96)),
        (16 / 9, 128, (128, 72)),
        (16 / 9, 256, (256, 144)),
        (9 / 16, 128, (72, 128)),
        (9 / 16, None, (96, 168)),
        (1.0, None, (128, 128)),
        (None, 256, (256, 144)),
        (16 / 9, (64, 64), (64, 64)),
    ],
)
def test_the_camera_decides_unless_both_sides_are_said(tmp_path, aspect, wanted, size):
    scene = filmed(tmp_path, aspect)
    notes: list[str] = []
    assert picture_size(wanted, scene, "scene:Shot", (128, 128), 8, RunHooks(notes.append)) == size
    (said,) = notes
    if wanted == (64, 64):
        assert "camera Shot was made for 16:9 pictures: in 64x64 the sides are cut off" in said
    else:
        assert f"pictures of {size[0]}x{size[1]}: camera Shot" in said
        assert ("tells no shape, 16:9 is taken" in said) == (aspect is None)


def test_without_a_camera_of_the_file_nothing_changes(tmp_path):
    scene, notes = filmed(tmp_path, 2.0), []
    hooks = RunHooks(notes.append)
    assert picture_size(None, scene, "orbit", (128, 64), 8, hooks) == (128, 64)
    assert picture_size(96, scene, None, (128, 64), 8, hooks) == (96, 96)
    assert picture_size((96, 48), scene, "scene:0", (128, 64), 8, hooks) == (96, 48)
    assert notes == []
    with pytest.raises(SceneError, match="no camera 'Other'"):
        picture_size(None, scene, "scene:Other", (128, 64), 8)

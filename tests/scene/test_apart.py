"""Files that end the process which reads them, and scenes that live in another process."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

import gc
import os
import signal
import struct

import numpy as np
import pytest

from genrender.errors import SceneError
from genrender.scene.formats import apart
from genrender.scene.formats.folders import Folders
from genrender.scene.load import load_scene

pytest.importorskip("pxr", reason="usd-core is not installed")
from pxr import Usd, UsdGeom

from genrender.scene.formats.usd.read import load_usd


@pytest.fixture(autouse=True)
def no_readers():
    """Each test begins, and leaves, without processes that read."""
    gc.collect()
    apart.end_idle()
    yield
    gc.collect()
    apart.end_idle()


def write(path):
    """A card that moves, seen by a camera."""
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(24)
    mesh = UsdGeom.Mesh.Define(stage, "/Card")
    mesh.CreatePointsAttr([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)])
    mesh.CreateFaceVertexCountsAttr([4])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    move = mesh.AddTranslateOp()
    move.Set((0, 0, 0), 0)
    move.Set((300, 0, 0), 24)
    camera = UsdGeom.Camera.Define(stage, "/Eye")
    camera.AddTranslateOp().Set((0, 0, 500))
    stage.Save()
    return path


def refusal(path):
    """What is said of a file that may also be shown."""
    try:
        return f"it is shown: {len(load_scene(path).tris)} triangles"
    except SceneError as error:
        return str(error)


def test_a_scene_that_another_process_holds_is_the_scene(tmp_path):
    path = write(tmp_path / "a.usdc")
    here, there = load_usd(Folders(path)), load_scene(path)
    for name in ("objects", "animations", "cameras", "materials", "n_dropped", "warnings", "path"):
        assert getattr(there, name) == getattr(here, name)
    for name in ("tris", "uvs", "object_id", "has_uvs", "rest_verts", "material"):
        ours, theirs = getattr(here, name), getattr(there, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(theirs, ours)
    np.testing.assert_array_equal(there.motion.mesh_verts(), here.motion.mesh_verts())
    for time_s in (0.0, 0.4, 1.0):
        np.testing.assert_array_equal(there.evaluate(time_s, 0), here.evaluate(time_s, 0))
        seen, expected = there.camera("Eye", time_s, 0), here.camera("Eye", time_s, 0)
        np.testing.assert_array_equal(seen.world_from_camera, expected.world_from_camera)
        assert (seen.yfov_deg, seen.ymag, seen.near, seen.far, seen.shift, seen.aspect) == (
            *(expected.yfov_deg, expected.ymag, expected.near, expected.far),
            *(expected.shift, expected.aspect),
        )
    assert there.evaluate(1.0, 0)[0, 0] == pytest.approx(3.0)


def test_a_file_that_ends_the_process_which_opens_it_is_refused(tmp_path):
    """The length of a list, too large; OpenUSD believes it, and what it finds there is left to chance."""
    data = bytearray(write(tmp_path / "a.usdc").read_bytes())
    data[data.index(struct.pack("<d", 0.01)) + 8] = 0x81
    (tmp_path / "b.usdc").write_bytes(data)
    for _ in range(3):
        assert refusal(tmp_path / "b.usdc").startswith(("b.usdc: ", "it is shown"))
    assert len(load_scene(tmp_path / "a.usdc").tris) == 2


def test_a_reader_that_ends_while_it_opens_a_file_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "PATIENCE_S", 0.0)  # the file is given up at once, and its reader ended
    path = write(tmp_path / "a.usdc")
    with pytest.raises(SceneError, match=r"the library ends, .* while it opens the file; export it again"):
        load_scene(path)
    monkeypatch.undo()
    assert len(load_scene(path).tris) == 2


def test_a_library_that_ends_costs_its_own_scene_only(tmp_path):
    lost, other = (load_scene(write(tmp_path / name)) for name in ("a.usdc", "b.usdc"))
    os.kill(lost.motion.reader._process.pid, signal.SIGKILL)
    with pytest.raises(SceneError, match=r"^a.usdc: .* the library ends, .* at 0.5 s; export it again$"):
        lost.evaluate(0.5, 0)
    assert other.evaluate(1.0, 0)[0, 0] == pytest.approx(3.0)


def test_scenes_take_over_the_processes_of_those_that_have_gone(tmp_path):
    path = write(tmp_path / "a.usdc")
    scenes = [load_scene(path) for _ in range(3)]
    processes = [scene.motion.reader._process for scene in scenes]
    assert len({process.pid for process in processes}) == 3
    scenes.clear()
    gc.collect()
    running = [process.pid for process in processes if process.poll() is None]
    assert len(running) == 1
    assert load_scene(path).motion.reader._process.pid == running[0]


def test_a_reader_that_holds_a_scene_is_not_ended_for_idleness(tmp_path, monkeypatch):
    monkeypatch.setattr("genrender.storage.helper.IDLE_S", 0.05)
    scene = load_scene(write(tmp_path / "a.usdc"))
    reader = scene.motion.reader
    assert reader._idle is None
    assert scene.evaluate(1.0, 0)[0, 0] == pytest.approx(3.0)
    process = reader._process
    del scene
    gc.collect()
    assert process.wait(10) is not None

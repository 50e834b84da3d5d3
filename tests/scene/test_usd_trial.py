"""Files that end the process which opens them."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

import struct

import pytest

from genrender.errors import SceneError
from genrender.scene.load import load_scene

pytest.importorskip("pxr", reason="usd-core is not installed")
from pxr import Usd, UsdGeom


def write(path):
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    mesh = UsdGeom.Mesh.Define(stage, "/Card")
    mesh.CreatePointsAttr([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)])
    mesh.CreateFaceVertexCountsAttr([4])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    stage.Save()
    return path


def test_a_file_that_ends_the_process_which_opens_it_is_refused(tmp_path):
    """The length of a list, far too large; OpenUSD believes it."""
    data = bytearray(write(tmp_path / "a.usdc").read_bytes())
    data[data.index(struct.pack("<d", 0.01)) + 8] = 0x81
    (tmp_path / "b.usdc").write_bytes(data)
    with pytest.raises(SceneError, match=r"the library ends, .* while it opens the file; export it again"):
        load_scene(tmp_path / "b.usdc")
    assert len(load_scene(tmp_path / "a.usdc").tris) == 2

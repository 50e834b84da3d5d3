"""The table of scene formats: who reads which file, what it needs, and which files belong to a scene."""

import sys
from pathlib import Path

import pytest

from genrender.errors import SceneError
from genrender.scene.formats.table import BY_SUFFIX, FORMATS, MOMENT_SUFFIXES
from genrender.scene.load import load_scene, scene_files

ROOT = Path(__file__).resolve().parents[2]


def test_every_suffix_has_one_format_and_every_format_one_reader():
    assert len(BY_SUFFIX) == sum(len(kind.suffixes) for kind in FORMATS)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in BY_SUFFIX)
    for kind in FORMATS:
        assert (kind.read_scene is None) != (kind.read_moment is None)
        assert (kind.library is None) == (kind.extra is None)
    assert {".obj", ".ply"} <= set(MOMENT_SUFFIXES)


def test_the_manual_names_every_format():
    manual = (ROOT / "docs" / "formats.md").read_text()
    assert [kind.name for kind in FORMATS if kind.name not in manual] == []
    assert [suffix for suffix in BY_SUFFIX if suffix not in manual] == []


@pytest.mark.parametrize("suffix", [s for s, kind in BY_SUFFIX.items() if kind.library])
def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch, suffix: str):
    kind = BY_SUFFIX[suffix]
    for module in [name for name in sys.modules if name.startswith("genrender.scene.formats")]:
        if module.rsplit(".", 1)[-1] in ("alembic", "read") and "gltf" not in module:
            monkeypatch.delitem(sys.modules, module)
    assert kind.library is not None
    monkeypatch.setitem(sys.modules, kind.library, None)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    with pytest.raises(SceneError, match=rf"pip install 'genrender\[{kind.extra}\]'"):
        load_scene(path)


def test_buffers_beside_a_gltf_belong_to_it(tmp_path: Path):
    for name in ("a.gltf", "a.bin", "a.glb"):
        (tmp_path / name).write_bytes(b"")
    assert set(scene_files(tmp_path / "a.gltf")) == {tmp_path / name for name in ("a.gltf", "a.bin", "a.glb")}
    assert scene_files(tmp_path / "a.glb") == [tmp_path / "a.glb"]
    assert scene_files(tmp_path / "a.unknown") == [tmp_path / "a.unknown"]

"""Scenes with useless triangles, and files damaged in hundreds of ways."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gltf_builder import SQUARE, GltfBuilder

from genrender.cli import main
from genrender.errors import SceneError
from genrender.scene.formats.gltf.rewrite import write_with_uvs
from genrender.scene.load import load_scene
from genrender.scene.uv.unwrap import unwrap

ROOT = Path(__file__).resolve().parents[2]
# A good triangle, one that names a vertex twice, one without area, one with a corner that is no number.
POINTS = [*SQUARE, [2, 0, 0], [0, np.nan, 0]]
TRIS = [[0, 1, 2], [0, 1, 1], [0, 1, 4], [0, 1, 5]]


def bad_gltf(path, **mesh):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(POINTS, np.ravel(TRIS), **mesh))
    return builder.save(path)


def bad_obj(path):
    lines = ["v " + " ".join(map(str, point)) for point in POINTS]
    lines += ["f " + " ".join(str(index + 1) for index in tri) for tri in TRIS]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("make", [bad_gltf, bad_obj])
def test_triangles_that_cannot_be_seen_are_left_out_and_counted(tmp_path, make):
    scene = load_scene(make(tmp_path / ("a.glb" if make is bad_gltf else "a.obj")))
    assert scene.n_dropped == 3
    assert len(scene.tris) == scene.objects[0].n_tris == 1
    np.testing.assert_array_equal(scene.rest_verts[scene.tris[0]], SQUARE[:3])
    assert np.isfinite(scene.rest_verts).all()
    assert np.isfinite(scene.motion.mesh_verts()).all()


def test_what_a_morph_target_may_unfold_stays(tmp_path):
    builder = GltfBuilder()
    target = builder.accessor([[0, 0, 0], [0, 0, 0], [0, 1, 0]])
    flat = [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    builder.node(mesh=builder.mesh(flat, [0, 1, 2], targets=[{"POSITION": target}]))
    scene = load_scene(builder.save(tmp_path / "a.glb"))
    assert len(scene.tris) == 1
    assert scene.n_dropped == 0


def test_a_scene_written_back_has_the_coordinates_on_the_right_triangles(tmp_path):
    scene = unwrap(load_scene(bad_gltf(tmp_path / "a.glb"))).scene
    write_with_uvs(scene, {0}, tmp_path / "b.glb")
    again = load_scene(tmp_path / "b.glb")
    np.testing.assert_array_equal(again.rest_verts[again.tris], scene.rest_verts[scene.tris])
    np.testing.assert_array_equal(again.uvs, scene.uvs)
    assert again.n_dropped == 0


def test_commands_tell_once(tmp_path, capsys):
    path = bad_gltf(tmp_path / "a.glb")
    assert main(["gbuffers", str(path), "--out", str(tmp_path / "out"), "--size", "8", "--frames", "1"]) == 0
    assert capsys.readouterr().err.count("left out 3 triangles of a.glb") == 1


def test_nothing_but_useless_triangles(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nf 1 2 2\n")
    with pytest.raises(SceneError, match="no triangles but 1 without an area"):
        load_scene(path)


def test_damaged_files_load_or_are_refused():
    n = os.environ.get("GENRENDER_FUZZ", "200")
    command = [sys.executable, "benchmarks/fuzz_scenes.py", "--mutations", n]
    if "GENRENDER_FUZZ" not in os.environ:
        command += ["--small"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]

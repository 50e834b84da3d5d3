"""What is wrong with texture coordinates is told with known figures, and `auto` changes only what it says."""

from dataclasses import replace

import numpy as np
import pytest
from gltf_builder import GltfBuilder
from whole_scenes import outside, scene_file

from genrender.errors import SceneError
from genrender.evaluation.chart_picture import CELL_PX, chart_picture
from genrender.scene.inspect import inspect_scene
from genrender.scene.load import load_scene
from genrender.scene.scene import Scene
from genrender.scene.uv.quality import is_usable
from genrender.scene.uv.report import UvReport, uv_report
from genrender.scene.uv.unwrap import report_of, spans, unwrap

TILED = "of its texels are in several places of the surface, for the texture is tiled"
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)


def cards(tmp_path, *uv_squares) -> Scene:
    """One object of unit squares side by side, each with the four coordinates given; None: without any."""
    builder = GltfBuilder()
    primitives = []
    for number, uvs in enumerate(uv_squares):
        positions = np.column_stack([CORNERS + np.array([2 * number, 0]), np.zeros(4)])
        attributes = {"POSITION": builder.accessor(positions)}
        if uvs is not None:
            attributes["TEXCOORD_0"] = builder.accessor(uvs)
        primitives.append({"attributes": attributes, "indices": builder.accessor([0, 1, 2, 0, 2, 3], "u2")})
    builder.doc["meshes"].append({"primitives": primitives})
    builder.node(mesh=0, name="cards")
    return load_scene(builder.save(tmp_path / "cards.glb"))


def report(scene: Scene) -> UvReport:
    (span,) = spans(scene.objects)
    return report_of(scene, span)


def square(x, y, side):
    return CORNERS * side + [x, y]


def test_charts_side_by_side_are_fine(tmp_path):
    found = report(cards(tmp_path, square(0.1, 0.1, 0.3), square(0.5, 0.1, 0.3)))
    assert replace(found, density_ratio=1.0) == UvReport(missing_percent=0.0)
    assert found.density_ratio == pytest.approx(1)
    assert (found.state, found.faults, found.advice) == ("ok", (), "fine")


def test_overlap_is_measured_and_excused_where_textures_can_be_kept_apart(tmp_path):
    found = report(cards(tmp_path, square(0.0, 0.0, 0.5), square(0.25, 0.0, 0.5)))
    assert found.overlap_percent == pytest.approx(100 / 3, abs=0.3)
    assert found.shared_percent == 0
    assert found.mirrored_percent == 0
    assert found.faults == ()
    assert found.advice == "fine: charts that overlap get textures of their own"


def test_a_mirrored_half(tmp_path):
    half = square(0, 0, 0.5)
    found = report(cards(tmp_path, half, half * [-1, 1] + [0.5, 0]))
    assert found.mirrored_percent == pytest.approx(50)
    assert found.overlap_percent == pytest.approx(100)
    assert found.advice == "fine: mirrored parts that overlap get textures of their own"


@pytest.mark.parametrize("shift", [0, -3])
def test_tiles_as_in_udim_are_no_fault(tmp_path, shift):
    found = report(cards(tmp_path, square(shift, 0, 1.0), square(shift + 1, 0, 1.0), square(shift, 1, 1.0)))
    assert found.layout == "tiles"
    assert found.outside_percent > 60
    assert found.faults == ()


def test_a_repeated_texture_is_a_fault(tmp_path):
    scene = cards(tmp_path, square(0, 0, 3.0))
    found = report(scene)
    assert (found.layout, found.shared_percent) == ("tiling", 100)
    unwrapped = unwrap(scene)
    assert list(unwrapped.made) == [0]
    assert report(unwrapped.scene).faults == ()


def test_density_is_told_in_length(tmp_path):
    found = report(cards(tmp_path, square(0, 0, 0.8), square(0.85, 0, 0.04)))
    assert found.density_ratio == pytest.approx(20)
    assert found.faults == ("texel density differs 20-fold",)


def test_missing_collapsed_and_degenerate(tmp_path):
    assert report(cards(tmp_path, None)).state == "missing"
    partial = report(cards(tmp_path, square(0, 0, 0.4), None))
    assert (partial.state, partial.missing_percent) == ("partial", 50)
    point = np.full((4, 2), 0.5)
    collapsed = report(cards(tmp_path, square(0, 0, 0.4), square(0.5, 0, 0.4), point))
    assert (collapsed.state, collapsed.collapsed_percent) == ("poor", pytest.approx(100 / 3))
    assert collapsed.faults == ("33.3 % has no area in the texture",)
    assert report(cards(tmp_path, square(0, 0, 0.4), point, point)).state == "degenerate"


@pytest.mark.parametrize("uvs", [square(0, 0, 0.9), square(0, 0, 3.0), np.full((4, 2), 0.5)])
def test_keep_changes_no_bit_and_unwrap_changes_all(tmp_path, uvs):
    scene = cards(tmp_path, uvs, uvs)
    kept = unwrap(scene, "keep")
    assert kept.scene is scene
    assert bool(kept.kept) == bool(report(scene).faults)
    remade = unwrap(scene, "unwrap")
    assert remade.made == {0: "asked for"}
    assert report(remade.scene).faults == ()
    assert report(remade.scene).overlap_percent == 0


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("walking_biped.glb", {}),
        ("still_life.glb", {}),
        ("cart.glb", {0: "33.3 % has none"}),
        ("automaton.glb", dict.fromkeys(range(6), "has none")),
        ("jelly.glb", {0: f"100 % {TILED}"}),
        outside("Fox.glb", {}),
        outside("Duck.glb", {0: "texel density differs 226-fold"}),
        outside("CesiumMilkTruck.glb", {0: "16.5 % has none"}),
    ],
)
def test_auto_on_whole_scenes(tmp_path, name, made):
    """The duck's body is plain yellow: 78 % of the surface, at a fifteenth of the density of its feet."""
    scene = load_scene(scene_file(name, tmp_path))
    unwrapped = unwrap(scene)
    assert unwrapped.made == made
    for index, span in enumerate(spans(scene.objects)):
        assert report_of(unwrapped.scene, span).faults == ()
        if index not in made:
            np.testing.assert_array_equal(unwrapped.scene.uvs[span], scene.uvs[span])


@pytest.mark.parametrize("name", ["jelly.glb", outside("MorphStressTest.gltf")])
def test_a_tiled_ground_is_found(tmp_path, name):
    uv = inspect_scene(load_scene(scene_file(name, tmp_path)))["objects"][0]["uv"]
    assert uv["layout"] == "tiling"
    assert uv["shared_percent"] > 50
    assert uv["advice"].startswith("unwrap: ")


def test_the_picture_shows_charts_overlap_and_mirroring(tmp_path):
    half = square(0, 0, 0.5)
    pictures = [
        chart_picture(cards(tmp_path, *squares))[-CELL_PX - 16 : -16, 16:-16]
        for squares in ((half,), (half, half), (half, half * [-0.8, 0.8] + [0.95, 0]))
    ]
    plain, twice, mirrored = (picture[20:140, 20:140].reshape(-1, 3) for picture in pictures)
    assert len(np.unique(plain, axis=0)) == 1  # one chart, one colour
    assert (twice[:, 0] > 150).all()
    assert (twice[:, 1:] < 120).all()
    assert len(np.unique(mirrored, axis=0)) == 1  # the smaller one is hatched
    right = pictures[2][20:120, 190:290].reshape(-1, 3)
    assert len(np.unique(right, axis=0)) == 2
    outside = pictures[0][200:300, 20:300]
    assert (outside == 255).all()


def test_an_object_that_cannot_be_unwrapped_is_named(tmp_path, monkeypatch):
    scene = cards(tmp_path, None)

    def refuse(_):
        raise RuntimeError("1 of 2 triangles came back")

    monkeypatch.setattr("genrender.scene.uv.unwrap.charts", refuse)
    with pytest.raises(SceneError, match=r"object 'cards' cannot be unwrapped .*give it UVs"):
        unwrap(scene)


@pytest.mark.parametrize("size", [1e20, 3e38])
def test_coordinates_of_any_size_are_measured_in_silence(size):
    uvs = np.array([[[-size, 0], [size, 0], [0, size]], [[0, 0], [1, 0], [0, 1]]], np.float32)
    corners = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]] * 2, np.float32)
    report = uv_report(uvs, np.ones(2, bool), corners, np.ones(2, np.int32))
    assert report.layout == "tiling"
    assert report.outside_percent == 50
    assert is_usable(uvs).tolist() == [False, True]

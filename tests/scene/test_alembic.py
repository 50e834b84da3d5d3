"""Alembic: archives written by the library itself come back as they went in."""

import numpy as np
import pytest

from genrender.errors import SceneError
from genrender.scene.load import load_scene
from genrender.scene.uv.quality import surface_area

pytest.importorskip("alembic3d", reason="alembic3d is not installed")
import imath
from alembic3d import Abc, AbcCoreAbstract, AbcGeom

SQUARE = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], float)
UVS = [(0, 0), (1, 0), (1, 0.5), (0, 0.25)]


def filled(array_type, values):
    array = array_type(len(values))
    for index, value in enumerate(values):
        array[index] = value
    return array


def mesh_sample(points, faces, uvs=None, scope=None):
    positions = filled(imath.V3fArray, [imath.V3f(*map(float, point)) for point in points])
    indices = filled(imath.IntArray, [corner for face in faces for corner in face])
    counts = filled(imath.IntArray, [len(face) for face in faces])
    if uvs is None:
        return AbcGeom.OPolyMeshSchemaSample(positions, indices, counts)
    values = filled(imath.V2fArray, [imath.V2f(*uv) for uv in uvs])
    return AbcGeom.OPolyMeshSchemaSample(
        positions, indices, counts, AbcGeom.OV2fGeomParamSample(values, scope)
    )


@pytest.fixture
def write(tmp_path):
    """Writes what a function puts into an archive whose samples are 1/24 s apart, from 1 s on."""

    def run(fill):
        path = tmp_path / "a.abc"
        archive = Abc.OArchive(str(path))
        archive.addTimeSampling(AbcCoreAbstract.TimeSampling(1 / 24, 1.0))
        fill(archive.getTop())
        del archive
        return path

    return run


def add_card(top, samples, name="Card", moves=()):
    transform = AbcGeom.OXform(top, name, 1)
    for x in moves:
        sample = AbcGeom.XformSample()
        sample.setTranslation(imath.V3d(x, 0, 0))
        transform.getSchema().set(sample)
    mesh = AbcGeom.OPolyMesh(transform, name + "Shape", 1)
    for sample in samples:
        mesh.getSchema().set(sample)


def test_polygons_that_are_not_convex_keep_their_area(write):
    """An L of area 3; cut as a fan from its first corner, triangles would lie outside of it."""
    corner = [(2, 1, 0), (1, 1, 0), (1, 2, 0), (0, 2, 0), (0, 0, 0), (2, 0, 0)]
    path = write(lambda top: add_card(top, [mesh_sample(corner, [tuple(range(6))[::-1]])]))
    scene = load_scene(path)
    assert surface_area(scene.evaluate(0.0)[scene.tris]).sum() == pytest.approx(3)


def test_far_transforms_keep_their_digits(write):
    """5,000 km away float32 knows half metres only."""
    path = write(lambda top: add_card(top, [mesh_sample(SQUARE, [(3, 2, 1, 0)])], moves=(5e6 + 0.125,)))
    verts = load_scene(path).evaluate(0.0)
    assert sorted(set(verts[:, 0] - 5e6)) == [0.125, 1.125]


def test_points_and_transforms_move(write):
    heights = (0, 1, 3)
    samples = [mesh_sample(SQUARE + np.array([0, 0, z]), [(3, 2, 1, 0)]) for z in heights]
    path = write(lambda top: add_card(top, samples, moves=(0, 10, 20)))
    scene = load_scene(path)
    assert [(o.name, o.n_tris, o.has_uvs) for o in scene.objects] == [("Card", 2, False)]
    assert [a.duration_s for a in scene.animations] == [pytest.approx(2 / 24)]
    for place in (0, 0.25, 1, 1.5, 2):
        expected = SQUARE + np.array([10 * place, 0, np.interp(place, range(3), heights)])
        np.testing.assert_allclose(scene.evaluate(place / 24, 0), expected, atol=1e-5)
    np.testing.assert_allclose(scene.evaluate(9, 0), SQUARE + np.array([20, 0, 3]), atol=1e-5)
    corners = scene.rest_verts[scene.tris]
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()


@pytest.mark.parametrize("scope", ["kFacevaryingScope", "kVertexScope"])
def test_texture_coordinates(write, scope):
    face = (3, 2, 1, 0)
    is_per_corner = scope == "kFacevaryingScope"
    uvs = [UVS[corner] for corner in face] if is_per_corner else UVS
    scope = getattr(AbcGeom.GeometryScope, scope)
    scene = load_scene(write(lambda top: add_card(top, [mesh_sample(SQUARE, [face], uvs, scope)])))
    assert scene.animations == ()
    np.testing.assert_allclose(scene.uvs, np.array(UVS)[scene.tris] * [1, -1] + [0, 1])


def test_cameras(write):
    def fill(top):
        add_card(top, [mesh_sample(SQUARE, [(3, 2, 1, 0)])])
        camera = AbcGeom.OCamera(AbcGeom.OXform(top, "Dolly", 1), "Shape", 1)
        for focal in (35.0, 70.0):
            sample = AbcGeom.CameraSample()
            sample.setFocalLength(focal)
            sample.setVerticalAperture(2.4)
            sample.setHorizontalFilmOffset(0.36)
            sample.setNearClippingPlane(0.5)
            sample.setFarClippingPlane(50)
            camera.getSchema().set(sample)

    scene = load_scene(write(fill))
    assert scene.camera_names == ("Dolly",)
    for time_s, focal in ((0, 35), (1 / 24, 70)):
        camera = scene.camera("Dolly", time_s, 0)
        assert (camera.near, camera.far) == (pytest.approx(0.5), pytest.approx(50))
        # An aperture of 36 mm lies along the longer side of the picture, and a tenth of it is the shift.
        for width, height, half_height in ((192, 108, 18 * 9 / 16), (60, 60, 18), (108, 192, 18)):
            half_width = half_height * width / height
            ray = camera.rays(height, width)[1].reshape(height, width, 3)[0, 0]
            corner = [-half_width * (1 - 1 / width) + 3.6, half_height * (1 - 1 / height), -focal]
            np.testing.assert_allclose(ray, np.array(corner) / focal, rtol=1e-6)
            seen, depth = camera.project(ray[None] * 7, height, width)
            np.testing.assert_allclose([*seen[0], *depth], [0.5, 0.5, 7], atol=1e-6)


def test_instances_are_what_they_show(tmp_path):
    archive = Abc.OArchive(str(tmp_path / "a.abc"))
    top = archive.getTop()
    card = AbcGeom.OXform(top, "Card")
    mesh = AbcGeom.OPolyMesh(card, "CardShape")
    mesh.getSchema().set(mesh_sample(SQUARE, [(3, 2, 1, 0)]))
    second = AbcGeom.OXform(top, "Second")
    sample = AbcGeom.XformSample()
    sample.setTranslation(imath.V3d(5, 0, 0))
    second.getSchema().set(sample)
    assert second.addChildInstance(mesh, "Again")
    hair = AbcGeom.OCurves(top, "Hair")
    del hair, second, mesh, card, top, archive
    scene = load_scene(tmp_path / "a.abc")
    assert [(thing.name, thing.mesh) for thing in scene.objects] == [("Card", 0), ("Second", 0)]
    np.testing.assert_allclose(scene.rest_verts[4:] - scene.rest_verts[:4], np.tile([5, 0, 0], (4, 1)))
    assert scene.warnings == ("left out: curves '/Hair' is no mesh; convert it to one",)


def test_one_bad_mesh_is_left_out(write):
    changing = [mesh_sample(SQUARE, of) for of in ([(3, 2, 1, 0)], [(2, 1, 0), (3, 2, 0)])]

    def fill(top):
        add_card(top, changing, "Sea")
        add_card(top, [mesh_sample(SQUARE, [(3, 2, 1, 0)])], "Ship")

    scene = load_scene(write(fill))
    assert [thing.name for thing in scene.objects] == ["Ship"]
    (warning,) = scene.warnings
    assert warning.startswith("left out: mesh 'Sea' changes its faces over time")


def test_what_cannot_be_read_is_said(write, tmp_path):
    faces = [[(3, 2, 1, 0)], [(2, 1, 0), (3, 2, 0)]]
    path = write(lambda top: add_card(top, [mesh_sample(SQUARE, of) for of in faces]))
    with pytest.raises(SceneError, match="'Card' changes its faces over time"):
        load_scene(path)
    with pytest.raises(SceneError, match="expected meshes, found none"):
        load_scene(write(lambda top: AbcGeom.OXform(top, "Empty")))
    (tmp_path / "b.abc").write_bytes(b"Ogawa\xff\x00\x01" + bytes(40))
    with pytest.raises(SceneError, match=r"library cannot read it .*export it as Alembic") as caught:
        load_scene(tmp_path / "b.abc")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_later_is_said_as_well(write, tmp_path, capfd):
    """Samples of the second moment, pointed at nothing: the first one is sound."""
    path = write(lambda top: add_card(top, [mesh_sample(SQUARE + z, [(3, 2, 1, 0)]) for z in (0, 7)]))
    data = bytearray(path.read_bytes())
    second = data.index(np.float32(SQUARE + 7).tobytes())
    data[second - 16 - 8 : second - 16] = b"\xff" * 8  # the length of the data, before its key
    (tmp_path / "b.abc").write_bytes(data)
    scene = load_scene(tmp_path / "b.abc")
    np.testing.assert_array_equal(scene.evaluate(0.0, 0), load_scene(path).evaluate(0.0, 0))
    with pytest.raises(
        SceneError, match=r"^b.abc: its library cannot read it .*; export it as Alembic again$"
    ):
        scene.evaluate(1 / 24, 0)
    assert capfd.readouterr().err == ""

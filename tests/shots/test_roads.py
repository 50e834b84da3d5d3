"""A law: one scene shows the same frames and wears the same noise by whatever road it comes.

A crate and a ball that move by actions of their own, seen by a 16:9 camera that moves by a third, 30 frames a
second, the artist's frames 5 to 10; as glTF, USD, Alembic and as EXR files with a cryptomatte.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from scene.gltf_builder import GltfBuilder

from genrender.config import NoiseConfig, RunConfig
from genrender.errors import SceneError
from genrender.gbuffer.exr.survey import open_sequence
from genrender.gbuffer.gbuffer import GBuffer
from genrender.noise.initial import surface_noise
from genrender.scene.load import load_scene
from genrender.scene.procedural.primitives import MeshPart, box, sphere
from genrender.shots.clip import Clip, ShotConfig, render_clip, render_shot
from genrender.shots.exr_shot import ExrShot
from genrender.shots.objects import prompts_by_id

RATE, FIRST, N = 30, 5, 6
FRAMES = np.arange(FIRST, FIRST + N)
SIZE = (128, 72)
STEP = np.arange(N)[:, None]
PLACES = {
    "Crate.001": np.array([-0.8, 0, 0]) + STEP * [0.1, 0.02, 0],
    "Ball": np.array([0.9, 0.2, 0.3]) + STEP * [0, -0.08, 0.05],
    "Shot Cam": np.array([0, 0.3, 5]) + STEP * [0.05, 0.03, -0.1],
}
MESHES = {"Crate.001": box(), "Ball": sphere(0.5)}
FOCAL_MM, WIDTH_MM = 40.0, 36.0
YFOV = 2 * np.arctan(WIDTH_MM * 9 / 16 / 2 / FOCAL_MM)


def as_gltf(folder: Path) -> Path:
    builder = GltfBuilder()
    builder.doc["cameras"] = [
        {"type": "perspective", "perspective": {"yfov": float(YFOV), "aspectRatio": 16 / 9, "znear": 0.01}}
    ]
    for name, places in PLACES.items():
        if name in MESHES:
            node = builder.node(mesh=_mesh(builder, MESHES[name]), name=name)
        else:
            node = builder.node(camera=0, name=name)
        times = np.float32(FRAMES / RATE)
        builder.animate(f"{name}Action", [(node, "translation", times, places, "LINEAR")])
    return builder.save(folder / "scene.glb")


def _mesh(builder: GltfBuilder, part: MeshPart) -> int:
    mesh = builder.mesh(part.verts, part.tris.ravel())
    primitive = builder.doc["meshes"][mesh]["primitives"][0]
    primitive["attributes"]["TEXCOORD_0"] = builder.accessor(part.uvs)
    return mesh


def as_usd(folder: Path) -> Path:
    pytest.importorskip("pxr", reason="usd-core is not installed")
    from pxr import Gf, Sdf, Usd, UsdGeom, Vt

    path = folder / "scene.usda"
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, "Y")
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(RATE)
    stage.SetFramesPerSecond(RATE)
    stage.SetStartTimeCode(int(FRAMES[0]))
    stage.SetEndTimeCode(int(FRAMES[-1]))
    # In another order than elsewhere.
    for name, places in reversed(PLACES.items()):
        top = UsdGeom.Xform.Define(stage, "/" + name.replace(".", "_").replace(" ", "_"))
        move = top.AddTranslateOp()
        for frame, place in zip(FRAMES.tolist(), places.tolist(), strict=True):
            move.Set(Gf.Vec3d(*place), frame)
        if name not in MESHES:
            camera = UsdGeom.Camera.Define(stage, top.GetPath().AppendChild("Camera"))
            camera.CreateFocalLengthAttr(FOCAL_MM)
            camera.CreateHorizontalApertureAttr(WIDTH_MM)
            camera.CreateVerticalApertureAttr(WIDTH_MM * 9 / 16)
            continue
        part = MESHES[name]
        mesh = UsdGeom.Mesh.Define(stage, top.GetPath().AppendChild("Data"))
        mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(part.verts.astype(np.float32)))
        mesh.CreateFaceVertexCountsAttr(Vt.IntArray([3] * len(part.tris)))
        mesh.CreateFaceVertexIndicesAttr(Vt.IntArray(part.tris.ravel().tolist()))
        uvs = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "vertex")
        uvs.Set(Vt.Vec2fArray.FromNumpy(_upwards(part.uvs)))
    stage.Save()
    return path


def as_alembic(folder: Path) -> Path:
    pytest.importorskip("alembic3d", reason="alembic3d is not installed")
    import imath
    from alembic3d import Abc, AbcCoreAbstract, AbcGeom
    from scene.test_alembic import filled

    path = folder / "scene.abc"
    archive = Abc.OArchive(str(path))
    archive.addTimeSampling(AbcCoreAbstract.TimeSampling(1 / RATE, FIRST / RATE))
    for name, places in PLACES.items():
        top = AbcGeom.OXform(archive.getTop(), name.replace(".", "_"), 1)
        for place in places.tolist():
            moved = AbcGeom.XformSample()
            moved.setTranslation(imath.V3d(*place))
            top.getSchema().set(moved)
        if name not in MESHES:
            lens = AbcGeom.CameraSample()
            lens.setFocalLength(FOCAL_MM)
            lens.setHorizontalAperture(WIDTH_MM / 10)
            lens.setVerticalAperture(WIDTH_MM / 10 * 9 / 16)
            AbcGeom.OCamera(top, "Camera", 1).getSchema().set(lens)
            continue
        part = MESHES[name]
        uvs = AbcGeom.OV2fGeomParamSample(
            filled(imath.V2fArray, [imath.V2f(*uv) for uv in _upwards(part.uvs).tolist()]),
            AbcGeom.GeometryScope.kVertexScope,
        )
        shape = AbcGeom.OPolyMeshSchemaSample(
            filled(imath.V3fArray, [imath.V3f(*point) for point in part.verts.tolist()]),
            filled(imath.IntArray, part.tris[:, ::-1].ravel().tolist()),  # faces run clockwise there
            filled(imath.IntArray, [3] * len(part.tris)),
            uvs,
        )
        AbcGeom.OPolyMesh(top, "Data", 1).getSchema().set(shape)
        del shape
    del archive, top
    return path


def as_exr(folder: Path) -> Path:
    """What other software would render of the scene, object by object of a cryptomatte."""
    clip = by_scene(as_gltf(folder))
    names = {index: thing.name for index, thing in enumerate(clip.geometry.scene.objects, start=1)}
    bits = {index: 0x3F000000 + 7919 * (10 - index) for index in names}
    header = {
        "cryptomatte/1a2b3c4/name": "CryptoObject",
        "cryptomatte/1a2b3c4/manifest": json.dumps(
            {names[i]: f"{bits[i]:08x}" for i in names} | {"Off Screen": "3f123456"}
        ),
        "framesPerSecond": float(RATE),
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
    }
    out = folder / "passes"
    out.mkdir()
    for frame, gbuffer in zip(FRAMES.tolist(), clip.gbuffers, strict=True):
        ids = np.zeros(gbuffer.depth.shape, np.uint32)
        for index in names:
            ids[gbuffer.object_id == index] = bits[index]
        visible = gbuffer.visible
        channels = {
            "Depth.Z": np.where(visible, gbuffer.depth, np.float32(1e10)),
            "UV.U": gbuffer.uv[..., 0].copy(),
            "UV.V": np.where(visible, 1 - gbuffer.uv[..., 1], 0).astype(np.float32),
            "CryptoObject00.R": ids.view(np.float32),
            "CryptoObject00.G": visible.astype(np.float32),
        }
        OpenEXR.File(header, channels).write(str(out / f"{frame:04d}.exr"))
    return out


def _upwards(uvs: np.ndarray) -> np.ndarray:
    return np.stack([uvs[:, 0], 1 - uvs[:, 1]], axis=1).astype(np.float32)


def by_scene(path: Path, **shot) -> Clip:
    return render_clip(load_scene(path), ShotConfig(size=SIZE, camera="scene:0", **shot))


def by_exr(path: Path, **shot) -> Clip:
    return render_shot(ExrShot.of(open_sequence(path), shot.pop("n_frames", None), **shot))


@dataclass(frozen=True)
class Road:
    write: Callable[[Path], Path]
    read: Callable[..., Clip]


ROADS = {
    "glTF": Road(as_gltf, by_scene),
    "USD": Road(as_usd, by_scene),
    "Alembic": Road(as_alembic, by_scene),
    "EXR": Road(as_exr, by_exr),
}
OTHERS = [name for name in ROADS if name != "glTF"]


def differing(one: GBuffer, other: GBuffer) -> float:
    """The share of pixels that show other depths or other places of a texture."""
    is_shown = one.visible & other.visible
    is_other = one.visible != other.visible
    with np.errstate(invalid="ignore"):
        is_other |= is_shown & (np.abs(one.depth - other.depth) > 1e-3)
    is_other |= is_shown & (np.abs(one.uv - other.uv).max(axis=-1) > 1e-3)
    return float(is_other.mean())


@pytest.fixture(scope="module")
def gltf(tmp_path_factory) -> Path:
    return as_gltf(tmp_path_factory.mktemp("gltf"))


@pytest.mark.parametrize("shot", [{}, {"start": 7}, {"start": "0.2s", "end": 9}, {"fps": 30.0, "end": 8}])
@pytest.mark.parametrize("road", OTHERS)
def test_every_road_shows_the_same_frames(tmp_path, gltf, road, shot):
    truth = by_scene(gltf, **shot)
    clip = ROADS[road].read(ROADS[road].write(tmp_path), **shot)
    assert clip.fps == truth.fps == RATE
    assert clip.shot.n_frames == truth.shot.n_frames
    for one, other in zip(clip.gbuffers, truth.gbuffers, strict=True):
        assert differing(one, other) < 2e-3  # a pixel's centre on an edge


@pytest.mark.parametrize("mode", ["partition", "bridge", "nearest"])
@pytest.mark.parametrize("road", OTHERS)
def test_every_road_wears_the_same_noise(tmp_path, gltf, road, mode):
    truth = by_scene(gltf)
    clip = ROADS[road].read(ROADS[road].write(tmp_path))
    config = NoiseConfig(mode)
    expected, found = (surface_noise(one.gbuffers, 4, 8, 7, config).numpy() for one in (truth, clip))
    is_same = np.isclose(expected, found, atol=1e-3).all(axis=1)
    # Rounded places move some texels to a pixel beside; another texture would change all that show objects.
    assert is_same.mean() > 0.9
    shown = np.stack([one.visible.reshape(9, 8, 16, 8).any((1, 3)) for one in truth.gbuffers])
    assert is_same[shown].mean() > 0.6
    assert np.corrcoef(expected[:, 0][shown], found[:, 0][shown])[0, 1] > 0.95


def test_what_no_frame_shows_may_have_a_prompt(tmp_path):
    """As in a scene; passes know such objects from the cryptomatte."""
    clip = by_exr(as_exr(tmp_path))
    first = min(MESHES)  # ids go by names
    texts = ((first, "a red box"), ("Off Screen", "a blue box"))
    assert prompts_by_id(clip, RunConfig(object_prompts=texts)) == {1: "a red box"}
    with pytest.raises(SceneError, match=r"no object is called 'Nobody'; it has: .*Off Screen"):
        prompts_by_id(clip, RunConfig(object_prompts=(("Nobody", "a box"),)))


def test_all_three_actions_play(gltf):
    scene = load_scene(gltf)
    animation = scene.find_animation(None)
    assert animation is not None
    for frame, step in zip(FRAMES / RATE, range(N), strict=True):
        moved = scene.evaluate(float(frame), animation)
        for index, name in enumerate(MESHES, start=1):
            centre = moved[np.unique(scene.tris[scene.object_id == index])].mean(axis=0)
            start = MESHES[name].verts.mean(axis=0)
            np.testing.assert_allclose(centre, start + PLACES[name][step], atol=1e-4)
        eye = scene.camera("Shot Cam", float(frame), animation).world_from_camera[:3, 3]
        np.testing.assert_allclose(eye, PLACES["Shot Cam"][step], atol=1e-5)

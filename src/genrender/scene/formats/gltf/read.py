"""glTF 2.0 scenes: the parsed file becomes a `Scene`."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pygltflib
from jaxtyping import Float64

from genrender.scene.animation import Track, that_agree
from genrender.scene.formats.folders import Folders
from genrender.scene.formats.format import Format
from genrender.scene.formats.gltf.accessor import read_floats
from genrender.scene.formats.gltf.animation import read_animation, visibility_targets
from genrender.scene.formats.gltf.file import GltfFile, open_gltf
from genrender.scene.formats.gltf.mesh import Budget, MeshData, morph_weights, read_mesh
from genrender.scene.formats.gltf.nodes import may_be_seen, read_instances, read_nodes, scene_nodes
from genrender.scene.moments import rate_of_keys
from genrender.scene.motion import MAX_COORDINATE, SceneCamera, is_placeable
from genrender.scene.names import UniqueNames
from genrender.scene.rig import Nodes, Part, Rig, Skin, trs_from_local
from genrender.scene.scene import ALL_ANIMATIONS, Animation, Scene, SceneObject


def load_gltf(folders: Folders) -> Scene:
    """Reads a .gltf or .glb file with everything that moves its default scene. Images are never opened.

    Raises:
        SceneError: the file is missing, broken, holds no triangles or needs an unsupported extension.
    """
    file = open_gltf(folders.scene, folders.allowed)
    budget = Budget(file)
    nodes = read_nodes(file)
    shown = scene_nodes(file)
    seen = may_be_seen(nodes, visibility_targets(file))
    placed, n_dropped = _read_meshes(file, [index for index in shown if seen[index]], budget)
    parts, first_verts = _place_all(file, placed)
    animations, tracks = _read_animations(file, parts, budget)
    rig = Rig(_with_trs_where_animated(nodes, tracks), tuple(parts), tracks)
    rest_verts = rig.evaluate(0.0, None)
    if not is_placeable(rest_verts):
        raise file.error(
            f"places vertices at infinity or beyond {MAX_COORDINATE:g} m; check the scales of nodes and "
            "mesh, and export it again"
        )
    rest_verts.flags.writeable = False
    objects = _objects(file, placed)
    return Scene(
        path=folders.scene,
        objects=objects,
        animations=animations,
        cameras=_read_cameras(file, shown),
        tris=np.concatenate(
            [
                (thing.mesh.tris + first).astype(np.int32)
                for thing, first in zip(placed, first_verts, strict=True)
            ]
        ),
        uvs=np.concatenate([thing.mesh.uvs for thing in placed]),
        object_id=np.repeat(np.arange(1, len(placed) + 1, dtype=np.int32), [o.n_tris for o in objects]),
        has_uvs=np.concatenate([thing.mesh.has_uvs for thing in placed]),
        rest_verts=rest_verts,
        motion=rig,
        n_dropped=n_dropped,
        materials=_material_names(file),
        material=np.concatenate([thing.mesh.material for thing in placed]),
        warnings=file.all_warnings(),
    )


@dataclass(frozen=True)
class _Placed:
    """A mesh as a node shows it, or one instance of that.

    Attributes:
        instance: in the node's space; None for a node without instances.
    """

    node: int
    mesh: MeshData
    instance: Float64[np.ndarray, "4 4"] | None


def _read_meshes(file: GltfFile, shown: list[int], budget: Budget) -> tuple[list[_Placed], int]:
    """What nodes show, and the number of triangles that are left out.

    Instances are only counted: they cost no memory yet.
    """
    meshes: dict[int, MeshData] = {}
    placed = []
    n_dropped = 0
    for index in shown:
        mesh_index = file.item("nodes", index).mesh
        if mesh_index is None:
            continue
        file.item("meshes", mesh_index)
        if mesh_index not in meshes:
            meshes[mesh_index] = read_mesh(file, mesh_index, budget)
        mesh = meshes[mesh_index]
        instances = read_instances(file, index)
        n = 1 if instances is None else len(instances)
        budget.spend("triangles of all objects", n * (len(mesh.tris) + mesh.n_dropped))
        budget.spend("vertices of all objects", n * mesh.n_verts)
        n_dropped += n * mesh.n_dropped
        if len(mesh.tris):
            places = [None] if instances is None else instances
            placed += [_Placed(index, mesh, place) for place in places]
    if not placed:
        lost = f" but {n_dropped} without an area or finite corners" if n_dropped else ""
        others = "".join(f"; {text}" for text in file.all_warnings())
        raise file.error(f"holds no triangles in its scene{lost}{others}; expected at least one mesh")
    return placed, n_dropped


def _objects(file: GltfFile, placed: list[_Placed]) -> tuple[SceneObject, ...]:
    unique = UniqueNames()
    objects = []
    for number, thing in enumerate(placed):
        node: pygltflib.Node = file.item("nodes", thing.node)
        mesh = thing.mesh
        name = unique(node.name or mesh.name or f"object_{number}")
        assert node.mesh is not None
        objects.append(
            SceneObject(name, len(mesh.tris), bool(mesh.has_uvs.all()), node.mesh, mesh.name or "")
        )
    return tuple(objects)


def _material_names(file: GltfFile) -> tuple[str, ...]:
    names = [getattr(material, "name", None) for material in file.json.materials or []]
    return tuple(str(name or f"material_{index}") for index, name in enumerate(names))


def _place_all(file: GltfFile, placed: list[_Placed]) -> tuple[list[Part], list[int]]:
    """The parts of all objects, and the index of every object's first vertex."""
    skins: dict[int, Skin] = {}
    parts: list[Part] = []
    first_verts = [0]
    for thing in placed:
        skin = file.item("nodes", thing.node).skin
        if skin is not None:
            file.item("skins", skin)
            if skin not in skins:
                skins[skin] = _read_skin(file, skin)
        parts += _place(file, thing, None if skin is None else skins[skin])
        first_verts.append(first_verts[-1] + thing.mesh.n_verts)
    return parts, first_verts[:-1]


def _read_animations(
    file: GltfFile, parts: list[Part], budget: Budget
) -> tuple[tuple[Animation, ...], tuple[tuple[Track, ...], ...]]:
    unique = UniqueNames()
    weight_counts = {part.node: len(part.block.targets) for part in parts}
    animations, tracks = [], []
    for index in range(len(file.json.animations or [])):
        name, of_animation = read_animation(file, index, weight_counts, budget)
        animations.append(_animation(unique(name), of_animation))
        tracks.append(of_animation)
    agreeing = that_agree(tracks)
    if len(agreeing) > 1:
        left = tuple(
            own.name for index, own in enumerate(animations) if tracks[index] and index not in agreeing
        )
        together = tuple(animations[index].name for index in agreeing)
        tracks.append(tuple(track for index in agreeing for track in tracks[index]))
        everything = _animation(unique(ALL_ANIMATIONS), tracks[-1])
        animations.append(replace(everything, together=together, left=left))
    return tuple(animations), tuple(tracks)


def _animation(name: str, tracks: tuple[Track, ...]) -> Animation:
    """An animation from the first key of its tracks to the last. The format tells no frame rate; keys may."""
    start_s = min((float(track.times_s[0]) for track in tracks), default=0.0)
    end_s = max((float(track.times_s[-1]) for track in tracks), default=0.0)
    rate = rate_of_keys(track.times_s for track in tracks)
    return Animation(name, end_s - start_s, start_s=start_s, fps=rate)


def _place(file: GltfFile, thing: _Placed, skin: Skin | None) -> list[Part]:
    index, mesh = thing.node, thing.mesh
    n_targets = len(mesh.blocks[0].targets)
    weights = np.array(
        morph_weights(file, f"node {index}", file.raw["nodes"][index].get("weights"), n_targets)
        or mesh.weights,
        np.float64,
    )
    parts = []
    for block in mesh.blocks:
        part_skin = skin if block.joints is not None else None
        highest = int(block.joints.max(initial=0)) if block.joints is not None else 0
        if part_skin is not None and highest >= len(part_skin.joints):
            raise file.error(
                f"node {index} has a mesh that uses joint {highest}, but its skin has "
                f"{len(part_skin.joints)} joints; export it again"
            )
        parts.append(Part(block, index, part_skin, weights, thing.instance))
    return parts


def _read_skin(file: GltfFile, index: int) -> Skin:
    skin: pygltflib.Skin = file.item("skins", index)
    joints = skin.joints or []
    if not joints:
        raise file.error(f"skin {index} has no joints; export it again")
    for joint in joints:
        file.item("nodes", joint)
    if skin.inverseBindMatrices is None:
        inverse_bind = np.tile(np.eye(4), (len(joints), 1, 1))
    else:
        rows = read_floats(file, skin.inverseBindMatrices, ("MAT4",))
        if len(rows) < len(joints) or not np.isfinite(rows).all():
            raise file.error(
                f"skin {index} has {len(rows)} inverse bind matrices for {len(joints)} joints, "
                "or some that are not finite; export it again"
            )
        # Some exporters write more matrices than joints; the first ones count.
        inverse_bind = rows[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)
    return Skin(np.array(joints, np.int64), inverse_bind)


def _with_trs_where_animated(nodes: Nodes, tracks: tuple[tuple[Track, ...], ...]) -> Nodes:
    """Nodes given by a matrix that some animation moves get their matrix taken apart."""
    moved = {
        node
        for of_animation in tracks
        for track in of_animation
        if track.target in ("translation", "rotation", "scale")
        for node in track.nodes.tolist()
    }
    for node in sorted(moved):
        if nodes.has_matrix[node]:
            nodes.translation[node], nodes.rotation[node], nodes.scale[node] = trs_from_local(
                nodes.matrix[node]
            )
            nodes.has_matrix[node] = False
    return nodes


def _read_cameras(file: GltfFile, shown: list[int]) -> tuple[SceneCamera, ...]:
    unique = UniqueNames()
    cameras: list[SceneCamera] = []
    for index in shown:
        node: pygltflib.Node = file.item("nodes", index)
        if node.camera is None:
            continue
        camera: pygltflib.Camera = file.item("cameras", node.camera)
        name = unique(node.name or camera.name or f"camera_{len(cameras)}")
        lens = camera.perspective or camera.orthographic
        yfov = getattr(camera.perspective, "yfov", None)
        ymag = getattr(camera.orthographic, "ymag", None)
        aspect = _aspect(camera)
        near, far = _planes(getattr(lens, "znear", None), getattr(lens, "zfar", None))
        if isinstance(yfov, int | float) and 0 < yfov < np.pi:
            cameras.append(SceneCamera(name, index, float(np.rad2deg(yfov)), None, near, far, aspect))
        elif isinstance(ymag, int | float) and np.isfinite(ymag) and ymag != 0:
            cameras.append(SceneCamera(name, index, 45.0, abs(float(ymag)), near, far, aspect))
        else:
            file.warnings.append(
                f"left out camera {name!r}: it needs a yfov between 0 and pi or a ymag other than 0"
            )
    return tuple(cameras)


def _aspect(camera: pygltflib.Camera) -> float | None:
    """Width / height of the picture that a camera was made for, where it tells a sensible one."""
    if camera.perspective is not None:
        aspect = camera.perspective.aspectRatio
    else:
        xmag, ymag = (getattr(camera.orthographic, side, None) for side in ("xmag", "ymag"))
        aspect = (
            abs(xmag / ymag)
            if isinstance(xmag, int | float) and isinstance(ymag, int | float) and ymag
            else None
        )
    return float(aspect) if isinstance(aspect, int | float) and 0.01 <= aspect <= 100 else None


def _planes(znear: object, zfar: object) -> tuple[float, float]:
    """A camera's clipping planes; those that leave nothing between them count as not given."""
    near = float(znear) if isinstance(znear, int | float) and 0 <= znear < np.inf else 0.0
    far = float(zfar) if isinstance(zfar, int | float) and zfar > 0 else np.inf
    return (near, far) if near < far else (0.0, np.inf)


def _files(folders: Folders) -> list[Path]:
    """Buffers and pictures of a .gltf file lie beside it."""
    path = folders.scene
    if path.suffix.lower() != ".gltf":
        return [path]
    return [path, *(file for file in path.parent.iterdir() if file.is_file())]


GLTF = Format("glTF", (".gltf", ".glb"), read_scene=load_gltf, files=_files)

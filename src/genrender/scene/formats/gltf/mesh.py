"""glTF meshes: primitives become vertex blocks, triangles and per-corner texture coordinates."""

from dataclasses import dataclass, field, replace

import numpy as np
import pygltflib
from jaxtyping import Bool, Float32, Int32, Int64

from genrender.scene.formats.gltf.accessor import read_floats, read_ints
from genrender.scene.formats.gltf.draco import decode_draco
from genrender.scene.formats.gltf.file import GltfFile
from genrender.scene.formats.gltf.uv import transformed, uv_transform
from genrender.scene.formats.sound_triangles import is_sound
from genrender.scene.rig import MorphTarget, VertexBlock
from genrender.scene.uv.quality import is_usable

TRIANGLES, TRIANGLE_STRIP, TRIANGLE_FAN = 4, 5, 6
POINTS_AND_LINES = (0, 1, 2, 3)

# A tiny file can describe endless geometry by naming the same bytes again and again.
MAX_ELEMENTS = 2**24


@dataclass
class Budget:
    """Counts what a file makes us allocate, and stops it before the memory does."""

    file: GltfFile
    spent: dict[str, int] = field(default_factory=dict)

    def spend(self, what: str, n: int) -> None:
        """Adds `n` elements.

        Raises:
            SceneError: the limit is passed.
        """
        self.spent[what] = self.spent.get(what, 0) + n
        if self.spent[what] > MAX_ELEMENTS:
            raise self.file.error(
                f"has more than {MAX_ELEMENTS:,} {what}; decimate it or split it into several files"
            )


@dataclass(frozen=True)
class MeshData:
    """One mesh of the file, before nodes place it.

    Attributes:
        tris: indices into the vertices of all `blocks`, one after the other.
        has_uvs: per triangle.
        material: per triangle, -1 for none.
        weights: default morph weights.
        sound: for every primitive that shows triangles, which of them are kept in `tris`, see `is_sound`.
    """

    name: str | None
    blocks: tuple[VertexBlock, ...]
    tris: Int64[np.ndarray, "T 3"]
    uvs: Float32[np.ndarray, "T 3 2"]
    has_uvs: Bool[np.ndarray, "T"]
    material: Int32[np.ndarray, "T"]
    weights: tuple[float, ...]
    sound: tuple[Bool[np.ndarray, "_"], ...]

    @property
    def n_verts(self) -> int:
        return sum(len(block.positions) for block in self.blocks)

    @property
    def n_dropped(self) -> int:
        """Triangles that are left out."""
        return sum(int(np.count_nonzero(~sound)) for sound in self.sound)


def read_mesh(file: GltfFile, index: int, budget: Budget) -> MeshData:
    """Reads the triangles of all primitives of a mesh; points and lines are left out.

    Raises:
        SceneError: the mesh is broken or compressed.
    """
    mesh: pygltflib.Mesh = file.item("meshes", index)
    blocks: dict[tuple, tuple[int, VertexBlock]] = {}
    n_verts = 0
    all_tris, all_uvs, all_has_uvs, all_materials, all_sound = [], [], [], [], []
    for primitive in mesh.primitives or []:
        if primitive.mode in POINTS_AND_LINES:
            file.leave_out("primitive{s} of points or lines")
            continue
        attributes = _attributes(primitive.attributes)
        if attributes.get("POSITION") is None:
            continue  # allowed by the format; without positions there is nothing to show
        decode_draco(file, primitive)
        mode = TRIANGLES if primitive.mode is None else primitive.mode
        key = _block_key(primitive, attributes)
        if key not in blocks:
            # Primitives often share their vertices and differ in indices only: one block serves them all.
            block = _read_block(file, index, primitive, attributes, budget)
            blocks[key] = (n_verts, block)
            n_verts += len(block.positions)
        first_vert, block = blocks[key]
        tris = read_tris(file, index, primitive, mode, len(block.positions), budget)
        all_sound.append(is_sound(tris, block.positions, block.joints is None and not block.targets))
        tris = tris[all_sound[-1]]
        if primitive.material is not None:
            file.item("materials", primitive.material)
        uvs = _read_uvs(file, primitive, tris, len(block.positions))
        all_tris.append(tris + first_vert)
        number = -1 if primitive.material is None else primitive.material
        all_materials.append(np.full(len(tris), number, np.int32))
        # Broken coordinates count as missing: the surface is still there, and an unwrap mends it.
        all_has_uvs.append(is_usable(uvs))
        all_uvs.append(np.where(all_has_uvs[-1][:, None, None], uvs, np.float32(0)))
    n_targets = max((len(block.targets) for _, block in blocks.values()), default=0)
    return MeshData(
        name=mesh.name if isinstance(mesh.name, str) else None,
        blocks=tuple(_with_targets(_without_nan(block), n_targets) for _, block in blocks.values()),
        tris=np.concatenate(all_tris) if all_tris else np.zeros((0, 3), np.int64),
        uvs=np.concatenate(all_uvs) if all_uvs else np.zeros((0, 3, 2), np.float32),
        has_uvs=np.concatenate(all_has_uvs) if all_has_uvs else np.zeros(0, bool),
        material=np.concatenate(all_materials) if all_materials else np.zeros(0, np.int32),
        weights=morph_weights(file, f"mesh {index}", mesh.weights, n_targets) or (0.0,) * n_targets,
        sound=tuple(all_sound),
    )


def _without_nan(block: VertexBlock) -> VertexBlock:
    """Vertices that are no finite numbers lie at 0, where no triangle uses them any more."""
    is_finite = np.isfinite(block.positions).all(axis=1, keepdims=True)
    return block if is_finite.all() else replace(block, positions=np.where(is_finite, block.positions, 0))


def _with_targets(block: VertexBlock, n_targets: int) -> VertexBlock:
    """Of a mesh's primitives some may have no morph targets, or fewer: the others do not move them."""
    still = MorphTarget(np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
    missing = n_targets - len(block.targets)
    return replace(block, targets=(*block.targets, *[still] * missing)) if missing else block


def morph_weights(file: GltfFile, where: str, weights: object, n_targets: int) -> tuple[float, ...] | None:
    """Checked morph weights of a mesh or node; None if it sets none.

    Raises:
        SceneError: not one finite number per morph target.
    """
    if not weights or n_targets == 0:
        return None
    if not isinstance(weights, list) or len(weights) != n_targets:
        raise file.error(
            f"{where} has weights that do not fit its {n_targets} morph targets; export it again"
        )
    if not all(isinstance(weight, int | float) and np.isfinite(weight) for weight in weights):
        raise file.error(f"{where} has morph weights that are no numbers; export it again")
    return tuple(float(weight) for weight in weights)


def _attributes(attributes: object) -> dict[str, object]:
    # pygltflib leaves them as they stand in the JSON; where there are none it puts an object of its own.
    return attributes if isinstance(attributes, dict) else {}


def _targets(primitive: pygltflib.Primitive) -> list[dict[str, object]]:
    return [_attributes(target) for target in primitive.targets or []]


def _joint_sets(attributes: dict[str, object]) -> list[tuple[object, object]]:
    sets = []
    while (
        attributes.get(f"JOINTS_{len(sets)}") is not None
        and attributes.get(f"WEIGHTS_{len(sets)}") is not None
    ):
        sets.append((attributes[f"JOINTS_{len(sets)}"], attributes[f"WEIGHTS_{len(sets)}"]))
    return sets


def _block_key(primitive: pygltflib.Primitive, attributes: dict[str, object]) -> tuple:
    moved = tuple(repr(target.get("POSITION")) for target in _targets(primitive))
    return repr(attributes["POSITION"]), repr(_joint_sets(attributes)), moved


def _read_block(
    file: GltfFile, mesh: int, primitive: pygltflib.Primitive, attributes: dict[str, object], budget: Budget
) -> VertexBlock:
    positions = read_floats(file, attributes["POSITION"], ("VEC3",))
    n_verts = len(positions)
    budget.spend("vertices", n_verts)
    targets = []
    for target in _targets(primitive):
        if target.get("POSITION") is None:  # a target may move normals only
            targets.append(MorphTarget(np.zeros(0, np.int64), np.zeros((0, 3), np.float32)))
            continue
        budget.spend("morph displacements", n_verts)
        delta = read_floats(file, target["POSITION"], ("VEC3",), n_verts)
        if not np.isfinite(delta).all():
            raise file.error(f"mesh {mesh} has morph targets that are no finite numbers; export it again")
        rows = np.flatnonzero(delta.any(axis=1))
        # An expression moves a small part of a face: keep only that part.
        is_sparse = len(rows) < n_verts / 2
        targets.append(MorphTarget(rows, delta[rows]) if is_sparse else MorphTarget(None, delta))
    joints, weights = _read_influences(file, mesh, attributes, n_verts, budget)
    return VertexBlock(positions, tuple(targets), joints, weights)


def _read_influences(
    file: GltfFile, mesh: int, attributes: dict[str, object], n_verts: int, budget: Budget
) -> tuple[Int64[np.ndarray, "V I"] | None, Float32[np.ndarray, "V I"] | None]:
    sets = _joint_sets(attributes)
    if not sets:
        return None, None
    budget.spend("joint influences", 4 * n_verts * len(sets))
    joints = np.concatenate([read_ints(file, j, ("VEC4",), n_verts) for j, _ in sets], axis=1)
    weights = np.concatenate([read_floats(file, w, ("VEC4",), n_verts) for _, w in sets], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        total = weights.sum(axis=1, keepdims=True)
    if not np.isfinite(total).all():
        raise file.error(f"mesh {mesh} has joint weights that are no finite numbers; export it again")
    is_loose = total[:, 0] == 0
    first_joint = joints[:, 0].copy()
    joints[weights == 0] = 0  # exporters leave anything there
    # A vertex that no joint holds would fall to the origin; its first joint takes it.
    joints[is_loose, 0] = first_joint[is_loose]
    weights[is_loose, 0] = 1
    total[is_loose] = 1
    weights /= total
    is_used = weights.any(axis=0)
    return joints[:, is_used], np.ascontiguousarray(weights[:, is_used])


def read_tris(
    file: GltfFile, mesh: int, primitive: pygltflib.Primitive, mode: object, n_verts: int, budget: Budget
) -> Int64[np.ndarray, "T 3"]:
    """The triangles of a primitive, strips and fans taken apart.

    Raises:
        SceneError: an index is out of bounds, or the mode is none of the format's.
    """
    if primitive.indices is None:
        indices = np.arange(n_verts, dtype=np.int64)
    else:
        indices = read_ints(file, primitive.indices, ("SCALAR",))[:, 0]
        if len(indices) and not 0 <= indices.min() <= indices.max() < n_verts:
            bad = indices.max() if indices.max() >= n_verts else indices.min()
            raise file.error(
                f"mesh {mesh} has the vertex index {bad}, but only {n_verts} vertices; export it again"
            )
    if mode == TRIANGLES:
        tris = indices[: len(indices) // 3 * 3].reshape(-1, 3)
    elif mode == TRIANGLE_STRIP:
        tris = (
            np.stack([indices[:-2], indices[1:-1], indices[2:]], axis=1) if len(indices) > 2 else indices[:0]
        )
        tris = tris.reshape(-1, 3)
        tris[1::2, 1:] = tris[1::2, :0:-1]  # every other triangle of a strip runs the other way round
        is_stitch = (tris[:, 0] == tris[:, 1]) | (tris[:, 1] == tris[:, 2]) | (tris[:, 2] == tris[:, 0])
        tris = tris[~is_stitch]
    elif mode == TRIANGLE_FAN:
        n = max(len(indices) - 2, 0)
        tris = np.stack([indices[1 : n + 1], indices[2 : n + 2], np.repeat(indices[:1], n)], axis=1)
    else:
        raise file.error(f"mesh {mesh} has a primitive of mode {mode!r}, expected 0 to 6")
    budget.spend("triangles", len(tris))
    return tris


def _read_uvs(
    file: GltfFile, primitive: pygltflib.Primitive, tris: Int64[np.ndarray, "T 3"], n_verts: int
) -> Float32[np.ndarray, "T 3 2"]:
    """Texture coordinates of corners as the material's picture sees them, NaN where there are none."""
    attributes = _attributes(primitive.attributes)
    if attributes.get("TEXCOORD_0") is None:
        return np.full((len(tris), 3, 2), np.nan, np.float32)
    uvs = read_floats(file, attributes["TEXCOORD_0"], ("VEC2",), n_verts)
    material = None if primitive.material is None else file.raw["materials"][primitive.material]
    transform = uv_transform(material)
    return (uvs if transform is None else transformed(uvs, transform))[tris]

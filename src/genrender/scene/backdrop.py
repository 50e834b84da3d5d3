"""Backdrops: a ground and a dome as geometry, so that the background has a surface of its own.

What lies on a surface moves with the camera as it should, and the methods of this project need no other rule
for backgrounds. A backdrop never moves, and cameras are framed as if it were not there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float, Float64
from PIL import ImageColor

from genrender.errors import ConfigError, SceneError
from genrender.scene.backdrop_ids import DOME_ID, GROUND_ID
from genrender.scene.camera import Camera
from genrender.scene.cameras.framing import Times, as_clip
from genrender.scene.motion import WithStatic
from genrender.scene.procedural.primitives import MeshPart
from genrender.scene.scene import Scene, SceneObject

BackdropKind: TypeAlias = Literal["none", "ground", "dome", "both"]

# Radius of dome and ground over the distance of the farthest eye or corner of the clip. The edge of the
# ground then lies about a degree below the true horizon at most.
FAR = 50.0
# The ground lies below the clip by this share of its size: a floor of the scene's own must not lie in it.
GAP = 1e-3
# With a dome the ground goes through it, past its flat facets, so that no ray slips between the two.
OVERHANG = 1.02

GROUND_RINGS, GROUND_SEGMENTS = 64, 64
DOME_CELLS = 64  # along a side of its square texture; even, so that the equator runs along diagonals


@dataclass(frozen=True)
class Backdrop:
    """What is behind the scene's own objects: geometry, a colour, or what the model makes up (neither).

    Attributes:
        kind: the geometry, as `add_backdrop` takes it.
        color: RGB, 0 to 255; None leaves the frames' background alone.
    """

    kind: BackdropKind = "none"
    color: tuple[int, int, int] | None = None


def parse_backdrop(text: str) -> Backdrop:
    """Reads `none`, `ground`, `dome`, `both`, or a colour as in CSS: a name, #rrggbb, #rgb, rgb(1, 2, 3).

    Raises:
        ConfigError: it is none of these.
    """
    word = text.strip().lower()
    for kind in get_args(BackdropKind):
        if word == kind:
            return Backdrop(kind)
    try:
        color = ImageColor.getrgb(word)
    except ValueError:
        color = ()
    if len(color) != 3:
        raise ConfigError(
            f"unknown backdrop {text!r}; expected none, ground, dome, both, or a colour, "
            "for example white or #204060"
        )
    return Backdrop(color=color)


def add_backdrop(
    scene: Scene,
    kind: BackdropKind,
    animation: int | None = None,
    times_s: Times = (),
    cameras: Sequence[Camera] = (),
    aspect: float = 1.0,
) -> Scene:
    """The scene with a `Ground`, a `Dome` or both behind its own objects, which stay what they are.

    The ground is a disc just below the lowest point of the clip, the dome a sphere around everything, closed
    below as well. Their object ids are `GROUND_ID` and `DOME_ID`, whatever the scene holds.

    Args:
        animation: what moves the scene; None is its rest pose.
        times_s: times of the clip's frames.
        cameras: all cameras of the clip; they end up inside the dome.
        aspect: width / height of the picture; only orthographic cameras need it.

    Raises:
        ConfigError: an unknown kind, or the scene has a backdrop already.
        SceneError: the scene has too many objects.
    """
    if kind not in get_args(BackdropKind):
        raise ConfigError(f"unknown backdrop {kind!r}, expected {', '.join(get_args(BackdropKind))}")
    if kind == "none":
        return scene
    if scene.is_backdrop.any():
        raise ConfigError("the scene has a backdrop already; add one to the scene as it was loaded")
    if len(scene.objects) >= GROUND_ID:
        raise SceneError(
            f"{scene.path.name}: a backdrop needs fewer than {GROUND_ID} objects, the scene has "
            f"{len(scene.objects)}; join some of them"
        )
    lower, upper = as_clip(scene, animation, times_s).bounds()
    centre = (lower + upper) / 2
    size = float(np.linalg.norm(upper - lower)) or 1.0
    centre[1] = lower[1] - GAP * size
    eyes = np.array([camera.world_from_camera[:3, 3] for camera in cameras]).reshape(-1, 3)
    distances = np.linalg.norm(eyes - centre, axis=1)
    # Rays of an orthographic camera start beside its eye.
    spread = max((camera.ymag or 0.0 for camera in cameras), default=0.0) * float(np.hypot(1, aspect))
    radius = FAR * max(size, float(distances.max(initial=0)) + spread)
    if kind in ("ground", "both"):
        seen_from = max(float(np.median(distances)), GAP * size) if len(distances) else size
        disc = ground(radius * (OVERHANG if kind == "both" else 1), seen_from)
        scene = with_static(scene, "Ground", GROUND_ID, disc, centre)
    if kind in ("dome", "both"):
        scene = with_static(scene, "Dome", DOME_ID, dome(radius), centre)
    return scene


def ground(radius: float, seen_from: float) -> MeshPart:
    """A horizontal disc around the origin whose texture is as dense as an eye at its side sees it.

    With an even texture, a pixel at the horizon would show thousands of times as many texels as one in the
    foreground, and no level of the noise would fit both. So a point at a distance r from the middle is put
    at r / (r + s) of the texture's radius. An eye at a distance s from the middle then sees equally many
    texels in every pixel beyond it, from whatever side: a pixel's area on the ground grows with the third
    power of s + r, and the density falls with the same power.

    Args:
        radius: of the disc, in scene units.
        seen_from: s, how far from the middle the camera stands, > 0.
    """
    share = np.linspace(0, radius / (radius + seen_from), GROUND_RINGS + 1)[1:]
    angle = np.arange(GROUND_SEGMENTS) / GROUND_SEGMENTS * 2 * np.pi
    round_ = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    flat = np.concatenate(
        [np.zeros((1, 2)), ((seen_from * share / (1 - share))[:, None, None] * round_).reshape(-1, 2)]
    )
    uvs = np.concatenate([np.zeros((1, 2)), ((share / share[-1])[:, None, None] * round_).reshape(-1, 2)])
    verts = np.stack([flat[:, 0], np.zeros(len(flat)), flat[:, 1]], axis=1)

    here = np.arange(GROUND_SEGMENTS)
    after = (here + 1) % GROUND_SEGMENTS
    tris = [np.stack([np.zeros_like(here), 1 + here, 1 + after], axis=1)]
    for ring in range(GROUND_RINGS - 1):
        inner, outer = 1 + ring * GROUND_SEGMENTS, 1 + (ring + 1) * GROUND_SEGMENTS
        tris.append(np.stack([inner + here, outer + here, outer + after], axis=1))
        tris.append(np.stack([inner + here, outer + after, inner + after], axis=1))
    return MeshPart(verts, np.concatenate(tris), np.clip(0.5 + 0.5 * uvs, 0, 1))


def dome(radius: float) -> MeshPart:
    """A closed sphere around the origin in one square chart without overlap and with even density.

    The square is an octahedron unfolded about its top: the upper hemisphere lies in the middle as a diamond,
    the lower one in the corners. The chart's border, the only seam, runs down four meridians of the lower
    hemisphere, where a ground hides it. Triangles face inwards.

    Source: Clarberg, "Fast Equal-Area Mapping of the (Hemi)Sphere using SIMD" (2008).
    """
    n = DOME_CELLS
    row, column = (axis.ravel() for axis in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    uvs = np.stack([column, row], axis=1) / n
    verts = radius * octahedral_direction(uvs)

    cell_row, cell_column = (axis.ravel() for axis in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    a = cell_row * (n + 1) + cell_column
    b, c, d = a + 1, a + n + 1, a + n + 2
    # The equator runs along diagonals of cells, and no triangle may lie across it.
    falls = ((cell_row < n // 2) != (cell_column < n // 2))[:, None]
    first = np.where(falls, np.stack([a, d, c], axis=1), np.stack([a, b, c], axis=1))
    second = np.where(falls, np.stack([a, b, d], axis=1), np.stack([b, d, c], axis=1))
    return MeshPart(verts, np.concatenate([first, second]), uvs)


def octahedral_direction(uv: Float[np.ndarray, "N 2"]) -> Float64[np.ndarray, "N 3"]:
    """Unit vectors that points of a square texture stand for: +Y in its middle, -Y in its corners.

    Equal areas of the texture are equal solid angles. Opposite points of the border's sides are one point.
    """
    x, z = (2 * uv.astype(np.float64) - 1).T
    across, along = np.abs(x), np.abs(z)
    from_equator = 1 - (across + along)  # > 0 in the upper hemisphere
    r = 1 - np.abs(from_equator)
    angle = ((along - across) / np.where(r == 0, 1, r) + 1) * np.pi / 4
    horizontal = r * np.sqrt(2 - r * r)
    direction = np.stack(
        [
            np.sign(x) * horizontal * np.cos(angle),
            np.sign(from_equator) * (1 - r * r),
            np.sign(z) * horizontal * np.sin(angle),
        ],
        axis=1,
    )
    # cos(pi / 2) is not quite 0: without this the two sides of the seam would not meet exactly.
    return np.round(direction, 12) + 0.0


def with_static(
    scene: Scene, name: str, object_id: int, mesh: MeshPart, centre: Float64[np.ndarray, "3"]
) -> Scene:
    """The scene with one more object at the end that nothing moves.

    Args:
        name: of the object; where another has it, it gets another ending.
        object_id: its number of objects so far plus one, or a backdrop's.
        mesh: around the origin.
        centre: where the mesh's origin comes to lie.
    """
    verts = mesh.verts + centre
    names = {thing.name for thing in scene.objects}
    while name in names:
        name += "_backdrop"
    n_tris = len(mesh.tris)
    thing = SceneObject(name, n_tris, True)
    rest_verts = np.concatenate([scene.rest_verts, verts])
    rest_verts.flags.writeable = False
    return replace(
        scene,
        objects=(*scene.objects, thing),
        joined=(*scene.joined, thing) if scene.joined else (),
        tris=np.concatenate([scene.tris, (mesh.tris + len(scene.rest_verts)).astype(np.int32)]),
        uvs=np.concatenate([scene.uvs, mesh.uvs[mesh.tris].astype(np.float32)]),
        object_id=np.append(scene.object_id, np.full(n_tris, object_id, np.int32)),
        has_uvs=np.append(scene.has_uvs, np.ones(n_tris, bool)),
        material=np.append(scene.material, np.full(n_tris, -1, np.int32)),
        rest_verts=rest_verts,
        motion=WithStatic(scene.motion, verts),
    )

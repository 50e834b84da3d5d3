"""Whole scenes for tests: the examples, three made here of what those lack, and some that may be absent.

The cart has parts with and without texture coordinates, materials, and wheels that share a mesh and turn; the
automaton has no coordinates, rigid limbs in a hierarchy, two dances and triangles without area; the jelly has
morph targets and stands on a tiled ground.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene.gltf_builder import ASSETS, GltfBuilder

from genrender.scene.procedural.primitives import MeshPart, box, capsule, pyramid, sphere

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "scenes"
SIDEWAYS = [0, 0, float(np.sqrt(0.5)), float(np.sqrt(0.5))]  # a quarter turn about Z


def scene_file(name: str, folder: Path) -> Path:
    """The file of a scene: made into `folder`, or where it lies."""
    if name in MADE:
        return MADE[name]().save(folder / name)
    return EXAMPLES / name if (EXAMPLES / name).is_file() else ASSETS / name


def outside(name: str, *more: Any) -> Any:
    """Parameters of a test whose scene lies outside the repository: skipped where it is absent."""
    is_absent = not (ASSETS / name).is_file()
    return pytest.param(name, *more, marks=pytest.mark.skipif(is_absent, reason=f"{ASSETS / name} is absent"))


def cart() -> GltfBuilder:
    """A painted box with a window of glass, on two axles of wheels."""
    builder = GltfBuilder()
    builder.doc["materials"] = [{"name": "paint"}, {"name": "glass"}, {"name": "wheels"}]
    window = pyramid(0.8, 0.7).moved([0, 0.5, 0])
    body = builder.mesh(**_geometry(builder, box([1, 1, 2])), name="Cart")
    glass = builder.mesh(**_geometry(builder, window, has_uvs=False))
    # Both sides of a wheel show the same part of the texture.
    wheel = sphere(0.4, segments=12).scaled([0.2, 1, 1])
    pair = [wheel.moved([-0.6, 0, 0]), wheel.moved([0.6, 0, 0])]
    wheels = builder.mesh(**_geometry(builder, _joined(pair)), name="Wheels")
    (pane,) = builder.doc["meshes"].pop(glass)["primitives"]
    builder.doc["meshes"][body]["primitives"].append(pane)
    wheels -= 1
    for mesh, primitive, material in ((body, 0, 0), (body, 1, 1), (wheels, 0, 2)):
        builder.doc["meshes"][mesh]["primitives"][primitive]["material"] = material
    axles = [
        builder.node(is_root=False, mesh=wheels, name="Wheels", translation=[0, -0.6, z]) for z in (-0.7, 0.7)
    ]
    builder.node(is_root=False, mesh=body, name="Cart", children=axles)
    builder.node(children=[2], name="root", rotation=SIDEWAYS, scale=[2, 2, 2], translation=[3, 1, 0])
    angles = np.linspace(0, 2 * np.pi, 31)[:, None] / 2
    turns = np.concatenate([np.sin(angles), 0 * angles, 0 * angles, np.cos(angles)], axis=1)
    times = np.arange(31) / 24
    builder.animate("Drive", [(axle, "rotation", times, turns, "LINEAR") for axle in axles])
    return builder


def automaton() -> GltfBuilder:
    """A torso, a head and two arms of two parts each, without texture coordinates."""
    builder = GltfBuilder()
    parts = {
        "torso": box([0.6, 1, 0.4]),
        "head": sphere(0.3, segments=12),
        "upper_arm": capsule([0, 0, 0], [0, -0.5, 0], 0.12, 0.1),
        "lower_arm": capsule([0, 0, 0], [0, -0.5, 0], 0.1, 0.08),
    }
    flat = MeshPart(np.zeros((3, 3)), np.array([[0, 1, 2]] * 3), np.zeros((3, 2)))
    parts["head"] = _joined([parts["head"], flat])
    meshes = {
        name: builder.mesh(**_geometry(builder, part, has_uvs=False), name=name)
        for name, part in parts.items()
    }
    builder.doc["materials"] = [{"name": "steel"}, {"name": "brass"}]
    for index, mesh in enumerate(builder.doc["meshes"]):
        mesh["primitives"][0]["material"] = index // 2
    joints, arms = [], []
    for side, x in (("left", 0.45), ("right", -0.45)):
        lower = builder.node(False, mesh=meshes["lower_arm"], name=f"{side}_lower", translation=[0, -0.5, 0])
        arms.append(
            builder.node(
                False,
                mesh=meshes["upper_arm"],
                name=f"{side}_upper",
                translation=[x, 0.4, 0],
                children=[lower],
            )
        )
        joints += [lower, arms[-1]]
    head = builder.node(False, mesh=meshes["head"], name="head", translation=[0, 0.8, 0])
    builder.node(mesh=meshes["torso"], name="torso", children=[head, *arms], scale=[1, 1.5, 1])
    times = np.linspace(0, 1.5, 19)
    swing = 0.8 * np.sin(2 * np.pi * times / 1.5)
    about_x = np.stack([np.sin(swing), 0 * swing, 0 * swing, np.cos(swing)], axis=1)
    about_z = about_x[:, [1, 2, 0, 3]] * [1, 1, -1, -1]  # the other sign of the same turns
    channels = [
        (joint, "rotation", times, about_x if i % 2 else about_z, "LINEAR") for i, joint in enumerate(joints)
    ]
    builder.animate("Dance", channels)
    builder.animate("Nod", [(head, "rotation", times, about_x, "STEP")])
    return builder


def jelly() -> GltfBuilder:
    """A ball with two morph targets, on a ground whose picture is tiled four times each way."""
    builder = GltfBuilder()
    builder.doc["materials"] = [{"name": "gel"}]
    axis = np.linspace(-2.0, 2.0, 4)  # edges that are none of the picture's
    x, z = (a.ravel() for a in np.meshgrid(axis, axis))
    first = (np.arange(3)[:, None] * 4 + np.arange(3)).ravel()
    corners = ([0, 4, 1], [1, 4, 5])
    tris = np.concatenate([first[:, None] + corner for corner in corners])
    ground = MeshPart(np.stack([x, 0 * x, z], axis=1), tris, np.stack([x, z], axis=1))
    builder.node(mesh=builder.mesh(**_geometry(builder, ground), name="Ground"), name="Ground")
    ball = sphere(0.6, segments=16).moved([0, 0.6, 0])
    tall, wide = ball.verts * [0, 0.8, 0], ball.verts * [0.5, 0, 0.5]
    targets = [{"POSITION": builder.accessor(move)} for move in (tall, wide)]
    node = builder.node(
        mesh=builder.mesh(**_geometry(builder, ball), targets=targets, weights=[0, 0], name="Jelly"),
        name="Jelly",
    )
    builder.animate(
        "Pulse", [(node, "weights", [0, 0.5, 1, 1.5, 2], [0, 0, 1, 0, 0.5, 1, 0, 0.5, 0, 0], "LINEAR")]
    )
    builder.animate("Individuals", [(node, "weights", [0, 1, 2], [0, 0, 1, 0, 0, 1], "LINEAR")])
    return builder


MADE = {"cart.glb": cart, "automaton.glb": automaton, "jelly.glb": jelly}


def _geometry(builder: GltfBuilder, part: MeshPart, has_uvs: bool = True) -> dict[str, Any]:
    attributes = {"TEXCOORD_0": builder.accessor(part.uvs)} if has_uvs else {}
    return {"positions": part.verts, "indices": part.tris.ravel(), "attributes": attributes}


def _joined(parts: list[MeshPart]) -> MeshPart:
    """All in one, with their coordinates as they are."""
    starts = np.cumsum([0, *(len(part.verts) for part in parts)])
    return MeshPart(
        np.concatenate([part.verts for part in parts]),
        np.concatenate([part.tris + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.uvs for part in parts]),
    )

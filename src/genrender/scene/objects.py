"""Which triangles are one object: by node, material or mesh, joined and left out by name.

Example:
    >>> from genrender.scene.objects import ObjectRule, with_objects
    >>> rule = ObjectRule(merge=(("wheel*", "Wheels"),), ignore=("Helper*",))
    >>> [thing.name for thing in with_objects(load_scene("car.glb"), rule).objects]
    ['Body', 'Wheels']
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import get_args

import numpy as np
from jaxtyping import Int

from genrender.errors import ConfigError, SceneError
from genrender.scene.backdrop_ids import GROUND_ID
from genrender.scene.choices import ObjectsBy
from genrender.scene.names import UniqueNames
from genrender.scene.scene import Scene, SceneObject, find_by_name

# What triangles without a material are called where objects go by materials.
NO_MATERIAL = "no material"


@dataclass(frozen=True)
class ObjectRule:
    """How a scene is divided into objects. Patterns are as in shells; case does not count.

    Attributes:
        by: `node`: a mesh as one node shows it; `material`: all that has a material of that name; `mesh`: all
            that shows one mesh.
        merge: pattern and name: objects whose name matches become one object of that name, together with the
            object that has it already. The first pattern that matches counts.
        ignore: patterns of objects that are taken out of the scene, before others are joined.
    """

    by: ObjectsBy = "node"
    merge: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()


BY_NODE = ObjectRule()


def with_objects(scene: Scene, rule: ObjectRule) -> Scene:
    """The scene with its triangles divided, and sorted object by object; the vertices stay.

    What a node shows of an object is a part of it, with textures of its own: coordinates stay what they are,
    whatever it is joined with.

    Args:
        scene: as it was loaded.
        rule: its patterns are about the names of objects by `rule.by`.

    Raises:
        ConfigError: there is no such way of dividing.
        SceneError: the file tells no materials, no object matches a pattern, or nothing is left.
    """
    if rule.by not in get_args(ObjectsBy):
        raise ConfigError(f"unknown objects {rule.by!r}, expected {', '.join(get_args(ObjectsBy))}")
    if rule == BY_NODE:
        return scene
    names, name_of_tri = _divided(scene, rule.by)
    find = partial(find_by_name, dict(enumerate(names)), scene.path.name)
    final = list(names)
    # Of several patterns for an object the first counts, so it comes last.
    for pattern, name in reversed(rule.merge):
        for index in find(pattern):
            final[index] = name
    ignored = [index for pattern in rule.ignore for index in find(pattern)]
    kept = np.flatnonzero(~np.isin(name_of_tri, ignored))
    if not len(kept):
        raise SceneError(
            f"{scene.path.name}: all {len(names)} objects are ignored; take a narrower pattern for --ignore"
        )
    return _regrouped(scene, final, name_of_tri, kept)


def _divided(scene: Scene, by: ObjectsBy) -> tuple[list[str], Int[np.ndarray, "T"]]:
    """Names, and which of them each triangle goes by."""
    if by == "material":
        if not (scene.material >= 0).any():
            raise SceneError(
                f"{scene.path.name}: tells no materials to divide objects by; take --objects node or mesh"
            )
        names = [*scene.materials, NO_MATERIAL]  # which -1 is an index of
        used, name_of_tri = np.unique(scene.material % len(names), return_inverse=True)
        return [names[index] for index in used], name_of_tri
    unique = UniqueNames()
    names: list[str] = []
    of_object: list[int] = []
    known: dict[int, int] = {}
    for index, thing in enumerate(scene.objects):
        is_shared = by == "mesh" and thing.mesh >= 0
        mesh = thing.mesh if is_shared else -1 - index
        if mesh not in known:
            known[mesh] = len(names)
            names.append(unique((is_shared and thing.mesh_name) or thing.name))
        of_object.append(known[mesh])
    return names, np.repeat(of_object, [thing.n_tris for thing in scene.objects])


def _regrouped(
    scene: Scene, names: Sequence[str], name_of_tri: Int[np.ndarray, "T"], kept: Int[np.ndarray, "K"]
) -> Scene:
    """The scene of the triangles `kept`, in which equal names are one object."""
    number = {name: index for index, name in enumerate(dict.fromkeys(names))}
    object_of_tri = np.array([number[name] for name in names])[name_of_tri]
    n_tris = [thing.n_tris for thing in scene.objects]
    node_of_tri, first_tris = np.repeat(np.arange(len(n_tris)), n_tris), np.cumsum([0, *n_tris])
    part_of_tri = node_of_tri * len(names) + name_of_tri
    order = kept[np.lexsort((part_of_tri[kept], object_of_tri[kept]))]

    parts: list[SceneObject] = []
    meshes: dict[tuple[int, bytes], int] = {}
    for rows in np.split(order, np.flatnonzero(np.diff(part_of_tri[order])) + 1):
        node = int(node_of_tri[rows[0]])
        mesh = scene.objects[node].mesh
        if mesh >= 0:  # which triangles of it these are tells parts of one mesh apart
            mesh = meshes.setdefault((mesh, (rows - first_tris[node]).tobytes()), len(meshes))
        has_uvs = bool(scene.has_uvs[rows].all())
        parts.append(SceneObject(names[int(name_of_tri[rows[0]])], len(rows), has_uvs, mesh))
    objects = tuple(_joined(list(of_object)) for _, of_object in groupby(parts, key=lambda part: part.name))
    return replace(
        scene,
        objects=objects,
        tris=scene.tris[order],
        uvs=scene.uvs[order],
        object_id=np.repeat(
            np.arange(1, len(objects) + 1, dtype=np.int32), [thing.n_tris for thing in objects]
        ),
        has_uvs=scene.has_uvs[order],
        material=scene.material[order],
        # Where there are more parts than textures, objects have to do with one each.
        joined=tuple(parts) if len(parts) < GROUND_ID else (),
    )


def _joined(parts: Sequence[SceneObject]) -> SceneObject:
    if len(parts) == 1:
        return parts[0]
    return SceneObject(parts[0].name, sum(part.n_tris for part in parts), all(part.has_uvs for part in parts))

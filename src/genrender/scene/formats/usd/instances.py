"""Point instancers: which instances there are at a time, and where each of them stands."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from pxr import Gf, Usd, UsdGeom

from genrender.scene.formats.left_out import PartError
from genrender.scene.formats.usd.open import MAX_PRIMS

# The id of an instance, and the number of the prototype that it shows.
Key = tuple[int, int]


@dataclass(frozen=True, eq=False)
class PointInstance:
    """An instance of a point instancer through all times. It may be there at some of them only.

    Attributes:
        key: what it is known by, see `instance_keys`.
        prototype: root of what it shows.
        home: where it stands when it is there first; there it waits, hidden, while it is not.
    """

    instancer: UsdGeom.PointInstancer
    key: Key
    prototype: Usd.Prim
    home: Gf.Matrix4d


def read_whole(attribute: Usd.Attribute, code: float) -> Int64[np.ndarray, "N"]:
    """An array of whole numbers at a time code, empty where there is none.

    Raises:
        PartError: it holds something else.
    """
    values = attribute.Get(code)
    array = np.asarray([] if values is None else values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise PartError(f"has {attribute.GetName()} that are no whole numbers; export it again")
    return array.astype(np.int64)


def find_instances(instancer: UsdGeom.PointInstancer, codes: tuple[float, float]) -> list[PointInstance]:
    """All instances that are there at any time from the first to the last time code, the first ones first.

    Raises:
        PartError: it shows a prototype that it does not have, too many instances, or has too few positions.
    """
    stage = instancer.GetPrim().GetStage()
    targets = instancer.GetPrototypesRel().GetForwardedTargets()
    prototypes = [stage.GetPrimAtPath(target) for target in targets]
    found: dict[Key, PointInstance] = {}
    for code in _changes(instancer, codes):
        keys = instance_keys(instancer, code)
        if len(found) + len(keys) > 2 * MAX_PRIMS or len(keys) > MAX_PRIMS:
            raise PartError(f"has more than {MAX_PRIMS:,} instances; thin them out")
        for _, number in keys:
            if not 0 <= number < len(prototypes) or not prototypes[number]:
                raise PartError(f"shows prototype {number}, but has {len(prototypes)}; export it again")
        placed = instance_transforms(instancer, code)
        if len(placed) != len(keys):
            raise PartError(
                f"has {len(keys):,} instances at time code {code:g}, but positions, orientations or scales "
                "for another number; export it again"
            )
        for key, place in zip(keys, placed, strict=True):
            if key not in found:
                found[key] = PointInstance(instancer, key, prototypes[key[1]], place)
    if not found:
        raise PartError("has no instances at any time; give it positions and protoIndices")
    return list(found.values())


def instance_keys(instancer: UsdGeom.PointInstancer, code: float) -> list[Key]:
    """What the instances at a time code are known by: their ids, else their places in the list.

    An instance that changes its prototype is another one: no surface point corresponds.

    Raises:
        PartError: they are no whole numbers.
    """
    numbers = read_whole(instancer.GetProtoIndicesAttr(), code).tolist()
    ids = read_whole(instancer.GetIdsAttr(), code).tolist()
    if len(ids) != len(numbers) or max(Counter(ids).values(), default=1) > 1:
        ids = range(len(numbers))
    return list(zip(ids, numbers, strict=True))


def instance_transforms(instancer: UsdGeom.PointInstancer, code: float) -> list[Gf.Matrix4d]:
    """Where the instances stand in the instancer's space, their prototypes' own transforms included."""
    placed = instancer.ComputeInstanceTransformsAtTime(
        code, code, UsdGeom.PointInstancer.IncludeProtoXform, UsdGeom.PointInstancer.IgnoreMask
    )
    return list(placed or [])


def _changes(instancer: UsdGeom.PointInstancer, codes: tuple[float, float]) -> list[float]:
    """Time codes at which instances may come; between them there are those of the code before."""
    start, end = codes
    samples = {
        sample
        for attribute in (instancer.GetProtoIndicesAttr(), instancer.GetIdsAttr())
        for sample in attribute.GetTimeSamples()
    }
    return sorted({start, *(sample for sample in samples if start < sample <= end)})

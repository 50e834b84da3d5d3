"""Which triangles can never be seen, and are therefore left out of a scene."""

import numpy as np
from jaxtyping import Bool, Float, Int

from genrender.scene.uv.quality import surface_area


def is_sound(
    tris: Int[np.ndarray, "T 3"], verts: Float[np.ndarray, "V 3"], is_rigid: bool
) -> Bool[np.ndarray, "T"]:
    """The triangles that have an area, or may get one.

    Args:
        tris: vertex indices.
        verts: in the space of the mesh.
        is_rigid: transforms alone move the vertices: what has no area in the mesh's space never gets one.
            Elsewhere morphs, joints or moving points may give it one, unless two corners are one vertex.

    Returns:
        False for triangles with a corner that is no finite number, that name a vertex twice, or that are
        rigid and have no area.
    """
    is_finite = np.logical_and.reduce(np.isfinite(verts), axis=1)
    sound = is_finite[tris].all(axis=1)
    sound &= (tris != np.roll(tris, 1, axis=1)).all(axis=1)
    if is_rigid:
        rows = np.flatnonzero(sound)
        sound[rows] = surface_area(verts[tris[rows]]) > 0
    return sound

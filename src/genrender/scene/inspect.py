"""What a scene holds, as plain data for people and programs."""

from typing import Any

import numpy as np

from genrender.scene.scene import Scene
from genrender.scene.uv_quality import is_degenerate, outside_percent, overlap_percent


def inspect_scene(scene: Scene) -> dict[str, Any]:
    """Objects with the state of their UVs, animations, cameras and totals, ready for JSON.

    The `uv` of an object: `state` is `ok`, `missing` (no triangle has UVs), `partial` (some have) or
    `degenerate` (they have no area); `missing_percent` and `outside_percent` count triangles,
    `overlap_percent` covered texels that belong to more than one triangle; UVs wrap around, as in rendering.
    """
    objects = []
    start = 0
    for index, scene_object in enumerate(scene.objects):
        span = slice(start, start + scene_object.n_tris)
        start = span.stop
        objects.append(
            {
                "object_id": index + 1,
                "name": scene_object.name,
                "triangles": scene_object.n_tris,
                "uv": _uv_state(scene, span),
            }
        )
    used_verts = scene.rest_verts[np.unique(scene.tris)]
    lower, upper = used_verts.min(axis=0), used_verts.max(axis=0)
    return {
        "file": scene.path.name,
        "totals": {
            "objects": len(scene.objects),
            "triangles": len(scene.tris),
            "vertices": len(scene.rest_verts),
            "animations": len(scene.animations),
            "cameras": len(scene.cameras),
        },
        "rest_bounds": {"min": [float(v) for v in lower], "max": [float(v) for v in upper]},
        "objects": objects,
        "animations": [
            {"index": index, "name": animation.name, "duration_s": round(animation.duration_s, 6)}
            for index, animation in enumerate(scene.animations)
        ],
        "cameras": [
            {
                "index": index,
                "name": camera.name,
                "yfov_deg": None if camera.ymag else camera.yfov_deg,
                "ymag": camera.ymag,
            }
            for index, camera in enumerate(scene.cameras)
        ],
    }


def _uv_state(scene: Scene, span: slice) -> dict[str, Any]:
    has_uvs = scene.has_uvs[span]
    uvs = scene.uvs[span][has_uvs]
    if not has_uvs.any():
        state = "missing"
    elif is_degenerate(uvs, scene.rest_verts[scene.tris[span][has_uvs]]):
        state = "degenerate"
    else:
        state = "ok" if has_uvs.all() else "partial"
    return {
        "state": state,
        "missing_percent": round(100 * float(1 - np.mean(has_uvs)), 3),
        "overlap_percent": round(overlap_percent(uvs), 3),
        "outside_percent": round(outside_percent(uvs), 3),
    }

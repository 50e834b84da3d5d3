"""What a scene holds, as plain data for people and programs."""

from typing import Any

import numpy as np

from genrender.scene.moments import DEFAULT_ASPECT, DEFAULT_FPS, shape_as_text
from genrender.scene.motion import SceneCamera
from genrender.scene.scene import Animation, Scene
from genrender.scene.uv.report import UvReport
from genrender.scene.uv.unwrap import report_of, spans


def inspect_scene(scene: Scene) -> dict[str, Any]:
    """Objects with the state of their UVs, animations, cameras and totals, ready for JSON.

    The `uv` of an object holds what `UvReport` says of it, and `state`: `ok`, `missing` (no triangle has
    UVs), `partial` (some have) or `degenerate` (they have no area).
    """
    objects = []
    reports: dict[int, UvReport] = {}
    for index, (scene_object, span) in enumerate(zip(scene.objects, spans(scene.objects), strict=True)):
        if scene_object.mesh not in reports or scene_object.mesh < 0:
            reports[scene_object.mesh] = report_of(scene, span)
        objects.append(
            {
                "object_id": index + 1,
                "name": scene_object.name,
                "triangles": scene_object.n_tris,
                "uv": _uv_figures(reports[scene_object.mesh]),
            }
        )
    playing = scene.find_animation(None)
    used_verts = scene.rest_verts[np.unique(scene.tris)]
    lower, upper = used_verts.min(axis=0), used_verts.max(axis=0)
    return {
        "file": scene.path.name,
        "totals": {
            "objects": len(scene.objects),
            "triangles": len(scene.tris),
            "vertices": len(scene.rest_verts),
            "animations": sum(not animation.together for animation in scene.animations),
            "cameras": len(scene.cameras),
        },
        "dropped_triangles": scene.n_dropped,
        "warnings": list(scene.warnings),
        "rest_bounds": {"min": [float(v) for v in lower], "max": [float(v) for v in upper]},
        "size_m": [round(float(v), 6) for v in upper - lower],
        "objects": objects,
        "animations": [
            {
                "index": index,
                "name": animation.name,
                "duration_s": round(animation.duration_s, 6),
                "together": list(animation.together),
                "fps": animation.fps,
                "start_s": round(animation.start_s + animation.file_s, 6),
                "end_s": round(animation.end_s + animation.file_s, 6),
                **_frames(animation),
            }
            for index, animation in enumerate(scene.animations)
        ],
        "plays": None if playing is None else scene.animations[playing].name,
        "cameras": [
            {
                "index": index,
                "name": camera.name,
                "yfov_deg": None if camera.ymag else camera.yfov_deg,
                "ymag": camera.ymag,
                "aspect": camera.aspect,
                "shape": None if camera.aspect is None else shape_as_text(camera.aspect),
                "lens_mm": _lens_mm(camera),
            }
            for index, camera in enumerate(scene.cameras)
        ],
    }


def _frames(animation: Animation) -> dict[str, float]:
    """Numbers of the first and the last frame, at the animation's rate."""
    fps = animation.fps or DEFAULT_FPS
    first, last = ((time_s + animation.file_s) * fps for time_s in (animation.start_s, animation.end_s))
    return {"first_frame": round(first, 3), "last_frame": round(last, 3)}


def _lens_mm(camera: SceneCamera) -> float | None:
    """Focal length on film whose longer side is 36 mm, as in Blender; 16:9 where no aspect ratio is given."""
    if camera.ymag is not None:
        return None
    aspect = camera.aspect or DEFAULT_ASPECT
    return round(18 / (np.tan(np.deg2rad(camera.yfov_deg) / 2) * max(aspect, 1)), 2)


def _uv_figures(report: UvReport) -> dict[str, Any]:
    names = ("missing", "overlap", "outside", "collapsed", "shared", "mirrored")
    return {
        "state": report.state,
        **{f"{name}_percent": round(getattr(report, f"{name}_percent"), 3) for name in names},
        "layout": report.layout,
        "density_ratio": round(report.density_ratio, 3),
        "advice": report.advice,
    }

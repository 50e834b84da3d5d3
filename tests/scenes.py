"""Small scenes with known answers: a panned plane, a rotating sphere, and a ball behind a slab as meshes."""

from functools import cache

import numpy as np

from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import render_gbuffer
from genrender.scene.camera import Camera
from genrender.scene.procedural.primitives import box, rotation_about, sphere


def _pixel_grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x to the right and y downwards in [-1, 1] at the pixel centres of an orthographic picture."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    return np.meshgrid(axis, axis)


def _pack(depth: np.ndarray, u: np.ndarray, v: np.ndarray, object_id: np.ndarray) -> GBuffer:
    hit = object_id > 0
    return GBuffer(
        depth=np.where(hit, depth, np.inf).astype(np.float32),
        uv=np.where(hit[..., None], np.stack([u, v], -1), 0).astype(np.float32),
        object_id=object_id.astype(np.int32),
        tri_id=np.where(hit, 0, -1).astype(np.int32),
        bary=np.zeros((*hit.shape, 2), np.float32),
    )


def panned_plane(size: int, shift: float = 0.0, half_width: float = 0.75, scale: float = 1.0) -> GBuffer:
    """A square that faces the camera; its texture fills it at `scale` 1.

    Args:
        size: picture side in pixels.
        shift: how far it has moved to the right, in picture widths.
        half_width: half its side as a fraction of half the picture; above 1 it fills the picture.
        scale: UV distance covered by its side; below 1 the camera stands nearer to the texture.
    """
    x, y = _pixel_grid(size)
    x = x - 2 * shift
    hit = (np.abs(x) < half_width) & (np.abs(y) < half_width)
    u, v = ((a / half_width * scale + 1) / 2 for a in (x, y))
    return _pack(np.full_like(x, 2.0), np.clip(u, 0, 1), np.clip(v, 0, 1), hit.astype(np.int64))


def rotating_sphere(size: int, angle_deg: float = 0.0, radius: float = 0.8) -> GBuffer:
    """A sphere that turns about the vertical axis; u is longitude, v is latitude from the upper pole."""
    x, y = _pixel_grid(size)
    x, y = x / radius, y / radius
    hit = x**2 + y**2 < 1
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    u = (np.arctan2(x, z) / (2 * np.pi) - angle_deg / 360) % 1.0
    v = np.arccos(np.clip(-y, -1, 1)) / np.pi
    return _pack(2 - z, u, v, hit.astype(np.int64))


def in_front(near: GBuffer, far: GBuffer) -> GBuffer:
    """Both scenes in one picture; the objects of `far` count on after those of `near`."""
    far_id = np.where(far.visible, far.object_id + near.object_id.max(initial=0), 0).astype(np.int32)
    pick = near.visible
    return GBuffer(
        depth=np.where(pick, near.depth, far.depth),
        uv=np.where(pick[..., None], near.uv, far.uv),
        object_id=np.where(pick, near.object_id, far_id),
        tri_id=np.where(pick, near.tri_id, far.tri_id),
        bary=np.where(pick[..., None], near.bary, far.bary),
    )


def surface_position(gbuffer: GBuffer) -> np.ndarray:
    """UV of every sample as complex numbers, NaN on the background: equal means the same surface point."""
    return np.where(gbuffer.visible, gbuffer.uv[..., 0] + 1j * gbuffer.uv[..., 1], np.nan)


@cache
def ball_behind_slab(
    n_frames: int,
    step: float,
    size: int = 96,
    n_objects: int = 2,
    slab_x: float = -0.1,
    eye: tuple[float, float] = (3.0, 0.8),
) -> tuple[list[GBuffer], np.ndarray, list[np.ndarray], list[Camera]]:
    """A ball that turns behind a box that slides past it, seen from an orbit: occlusion both ways.

    Args:
        n_frames: frames of the clip.
        step: how fast everything moves.
        size: side of the pictures in pixels.
        n_objects: 1 makes ball and box one object.
        slab_x: where the box begins.
        eye: distance and height of the camera.

    Returns:
        G-buffers, triangles, vertices and cameras.
    """
    ball, slab = sphere(0.7, segments=40), box((0.35, 1.2, 0.35))
    tris = np.concatenate([ball.tris, slab.tris + len(ball.verts)]).astype(np.int32)
    uvs = np.concatenate([ball.uvs[ball.tris], slab.uvs[slab.tris]]).astype(np.float32)
    object_id = np.repeat([1, n_objects], [len(ball.tris), len(slab.tris)]).astype(np.int32)
    distance, height = eye
    verts, cameras, gbuffers = [], [], []
    for frame in range(n_frames):
        turned = ball.turned(rotation_about([0.0, 1.0, 0.0], 1.5 * step * frame)).verts
        slid = slab.moved((slab_x + step * frame, 0.0, 0.9)).verts
        verts.append(np.concatenate([turned, slid]).astype(np.float32))
        angle = 0.5 * step * frame
        place = np.array([distance * np.sin(angle), height, distance * np.cos(angle)])
        cameras.append(Camera.look_at(place, np.zeros(3)))
        gbuffers.append(render_gbuffer(verts[-1], tris, uvs, object_id, cameras[-1], size, size))
    return gbuffers, tris, verts, cameras

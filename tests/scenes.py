"""Small scenes with known answers, intersected analytically: a panned plane and a rotating sphere."""

import numpy as np

from genrender.gbuffer.gbuffer import GBuffer


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

"""What a G-buffer costs: a bending character of about 20,000 triangles at 512x512, new vertices every frame.

    python benchmarks/gbuffer_cost.py [--frames 15] [--size 512] [--json]

Prints the median milliseconds per frame. The target is below 150 on two processor cores.
"""

import json
import os
import statistics
import sys
import time

import numpy as np
from shared import new_parser

from genrender.gbuffer.raycast import intersect, render_gbuffer
from genrender.scene.camera import Camera
from genrender.scene.procedural.primitives import MeshPart, lathe

TARGET_MS = 150


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, default=15)
    parser.add_argument("--size", type=int, default=512)
    args = parser.parse_args()

    part = character()
    tris = part.tris.astype(np.int32)
    uvs = part.uvs[part.tris].astype(np.float32)
    object_id = np.ones(len(tris), np.int32)
    camera = Camera.look_at(np.array([1.5, 1.4, 3.0]), np.array([0.0, 1.0, 0.0]), yfov_deg=40)

    total_ms, trace_ms, coverage = [], [], 0.0
    for frame in range(args.frames + 2):
        verts = bend(part.verts, 0.5 * np.sin(frame / 4)).astype(np.float32)
        started = time.perf_counter()
        gbuffer = render_gbuffer(verts, tris, uvs, object_id, camera, args.size, args.size)
        total_ms.append(1000 * (time.perf_counter() - started))
        origins, directions = camera.rays(args.size, args.size)
        started = time.perf_counter()
        intersect(verts, tris, origins, directions)
        trace_ms.append(1000 * (time.perf_counter() - started))
        coverage = float(gbuffer.visible.mean())

    # The first two frames warm up caches and threads.
    total, trace = statistics.median(total_ms[2:]), statistics.median(trace_ms[2:])
    report = {
        "size": args.size,
        "n_tris": len(tris),
        "coverage": round(coverage, 3),
        "frames": args.frames,
        "ms_per_frame": round(total, 1),
        "build_and_trace_ms": round(trace, 1),
        "rays_and_attributes_ms": round(total - trace, 1),
        "worst_ms": round(max(total_ms[2:]), 1),
        "target_ms": TARGET_MS,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
    }
    if args.json:
        json.dump(report, sys.stdout)
        print()
        return
    print(f"{report['n_tris']} triangles, {args.size}x{args.size}, {coverage:.0%} of the pixels covered")
    print(f"  build and trace      {trace:7.1f} ms")
    print(f"  rays and attributes  {total - trace:7.1f} ms")
    print(f"  total                {total:7.1f} ms per frame (median of {args.frames}, target {TARGET_MS})")
    print(f"  {report['cores']} cores, load average {report['load_average']}: other work slows this down")


def character() -> MeshPart:
    """A capsule 2 units high, of about 20,000 triangles."""
    rings, segments = 101, 100
    angle = np.linspace(0, np.pi, rings)
    radius = 0.45 * np.sin(angle) ** 0.5
    return lathe(list(zip(radius, 1 + np.cos(angle), strict=True)), segments)


def bend(verts: np.ndarray, amount_rad: float) -> np.ndarray:
    """The character leaning sideways, the more the higher up."""
    angle = amount_rad * verts[:, 1] / 2
    x, y = verts[:, 0], verts[:, 1]
    return np.stack(
        [np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y, verts[:, 2]], 1
    )


if __name__ == "__main__":
    main()

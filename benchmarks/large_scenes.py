"""What a large scene costs: loading, texture coordinates, framing, evaluation, ray casting, memory.

    python benchmarks/large_scenes.py [--tris 1000000] [--objects 200] [--length 300] [--measured 40] [--json]

Makes a glTF file of that many triangles, objects and frames in a temporary folder: most objects are moved by
their nodes, three tenths are skinned to joints that turn, a tenth morphs. Each measurement runs in a process
of its own. Processor time beside wall time tells what other work on the machine does to the figures. Memory
must not grow with the frames: over the first ten or so the heap finds its size, so the second half is
compared.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from shared import new_parser

from genrender.gbuffer.raycast import accelerate, render_gbuffer, trace
from genrender.scene.load import load_scene
from genrender.scene.scene import Scene
from genrender.scene.uv.unwrap import unwrap
from genrender.shots.clip import ShotConfig, plan_shot
from genrender.storage.memory import peak_memory_mb

STAGES = ("load", "uv keep", "uv auto", "framing", "frames", "embree")
FPS = 24.0
JOINTS, TARGETS = 8, 4
# The object with a number that leaves this remainder by ten is moved by ...
SKINNED, MORPHING = (1, 4, 7), (2,)


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--tris", type=int, default=1_000_000)
    parser.add_argument("--objects", type=int, default=200)
    parser.add_argument("--length", type=int, default=300, help="frames of the animation")
    parser.add_argument("--measured", type=int, default=40, help="frames that are measured, spread over it")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--profile", choices=STAGES, help="print where the time of one measurement goes")
    parser.add_argument("--only", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        args.file = Path(folder, "large.glb")
        write_scene(args.file, args.tris, args.objects, args.length)
        if args.profile:
            profile(args)
            return
        report = {
            **{key: getattr(args, key) for key in ("tris", "objects", "length", "measured", "size")},
            "file_mb": round(args.file.stat().st_size / 1e6, 1),
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),
            "stages": {stage: in_own_process(args, stage) for stage in STAGES},
        }
    print(json.dumps(report, indent=2) if args.json else table(report))


def in_own_process(args: argparse.Namespace, stage: str) -> dict[str, Any]:
    words = [sys.executable, __file__, "--only", stage, "--file", str(args.file)]
    words += ["--length", str(args.length), "--measured", str(args.measured), "--size", str(args.size)]
    run = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout)


def profile(args: argparse.Namespace) -> None:
    words = [sys.executable, "-m", "cProfile", "-s", "tottime", __file__, "--only", args.profile]
    words += ["--file", str(args.file), "--length", str(args.length), "--measured", str(args.measured)]
    run = subprocess.run([*words, "--size", str(args.size)], stdout=subprocess.PIPE, check=True, text=True)
    print("\n".join(run.stdout.splitlines()[:40]))


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['tris']:,} triangles, {report['objects']} objects, {report['length']} frames, "
        f"{report['file_mb']} MB; {report['cores']} cores, load average {report['load_average']}",
        f"{'':24}{'wall':>9}{'processor':>11}",
    ]
    for stage, costs in report["stages"].items():
        for what, (wall_s, cpu_s) in costs["seconds"].items():
            lines.append(f"{what:24}{wall_s:8.3f}s{cpu_s:10.3f}s")
        lines.append(f"  {stage}: " + ", ".join(f"{k} {v}" for k, v in costs.items() if k != "seconds"))
    return "\n".join(lines)


# Measuring


class Clock:
    """Wall and processor time of named pieces of work; of repeated ones the mean."""

    def __init__(self):
        self.spans: dict[str, list[tuple[float, float]]] = {}

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        yield
        spent = time.perf_counter() - wall_s, time.process_time() - cpu_s
        self.spans.setdefault(what, []).append(spent)

    def means(self) -> dict[str, list[float]]:
        return {what: np.mean(spans, axis=0).round(4).tolist() for what, spans in self.spans.items()}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The costs of one stage, in this process."""
    clock = Clock()
    before_mb = resident_mb()
    if args.only == "load":
        with clock("load"):
            load_scene(args.file)
        more: dict[str, Any] = {"resident_mb": round(resident_mb() - before_mb)}
    else:
        scene = load_scene(args.file)
        loaded_mb = resident_mb()
        more = STAGE_WORK[args.only](scene, args, clock)
        more["above_scene_mb"] = round((peak_memory_mb() or 0) - loaded_mb)
    return {"seconds": clock.means(), **more, "peak_mb": round(peak_memory_mb() or 0)}


def ready_uvs(scene: Scene, args: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    with clock(args.only):
        done = unwrap(scene, args.only.split()[1])
    with clock(f"{args.only}, textures"):
        n = len(np.unique(done.scene.atlas_id))
    return {"unwrapped": len(done.made), "textures": n}


def framing(scene: Scene, args: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    with clock("framing per frame"):
        plan_shot(scene, ShotConfig((args.size, args.size), times_s=times(args)))
    wall_s, cpu_s = clock.spans["framing per frame"][0]
    n = args.measured
    clock.spans["framing per frame"] = [(wall_s / n, cpu_s / n)]
    return {}


def frames(scene: Scene, args: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    shot = plan_shot(scene, ShotConfig((args.size, args.size), times_s=times(args), camera="orbit"))
    sizes_mb = []
    shown = None
    for frame, camera in enumerate(shot.cameras):
        with clock("evaluate"):
            verts = shot.verts(frame)
        with clock("ray casting"):
            shown = render_gbuffer(
                verts, scene.tris, scene.uvs, scene.object_id, camera, args.size, args.size, scene.object_id
            )
        sizes_mb.append(resident_mb())
    half = len(sizes_mb) // 2
    growth_mb = (sizes_mb[-1] - sizes_mb[half]) / max(1, len(sizes_mb) - 1 - half)
    return {
        "growth_mb_per_frame": round(growth_mb, 3),
        "coverage": 0 if shown is None else round(float(shown.visible.mean()), 3),
        "verts": len(scene.rest_verts),
    }


def embree(scene: Scene, args: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """All triangles given to Embree: its tree is built by the first ray."""
    few = times(args)[: max(1, args.measured // 4)]
    shot = plan_shot(scene, ShotConfig((args.size, args.size), times_s=few, camera="orbit"))
    for frame, camera in enumerate(shot.cameras):
        verts = shot.verts(frame)
        origins, directions = camera.rays(args.size, args.size)
        with clock("Embree, build"):
            built = accelerate(verts, scene.tris, origins[0])
            trace(built, 0 * origins[:1], directions[:1])
        with clock("Embree, trace"):
            trace(built, origins - origins[0], directions)
    return {}


def times(args: argparse.Namespace) -> tuple[float, ...]:
    return tuple(np.linspace(0, (args.length - 1) / FPS, args.measured).tolist())


def resident_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


STAGE_WORK: dict[str, Callable[[Scene, argparse.Namespace, Clock], dict[str, Any]]] = {
    "uv keep": ready_uvs,
    "uv auto": ready_uvs,
    "framing": framing,
    "frames": frames,
    "embree": embree,
}


# Making the file


class Glb:
    """A glTF document under construction."""

    def __init__(self):
        self.doc: dict[str, Any] = {
            **{key: [] for key in ("nodes", "meshes", "skins", "accessors", "bufferViews")},
            "asset": {"version": "2.0"},
        }
        self.blob = bytearray()

    def accessor(self, values: np.ndarray) -> int:
        kinds = {"f": 5126, "u": {1: 5121, 4: 5125}.get(values.itemsize)}
        width = 1 if values.ndim == 1 else values.shape[1]
        kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[width]
        view = {"buffer": 0, "byteOffset": len(self.blob), "byteLength": values.nbytes}
        self.blob += values.tobytes() + b"\0" * (-values.nbytes % 4)
        self.doc["bufferViews"].append(view)
        entry = {"bufferView": len(self.doc["bufferViews"]) - 1, "count": len(values), "type": kind}
        return self.add("accessors", {**entry, "componentType": kinds[values.dtype.kind]})

    def add(self, kind: str, thing: dict[str, Any]) -> int:
        self.doc[kind].append(thing)
        return len(self.doc[kind]) - 1

    def save(self, path: Path) -> None:
        roots = sorted(set(range(len(self.doc["nodes"]))) - {
            child for node in self.doc["nodes"] for child in node.get("children", ())
        })  # fmt: skip
        doc = {
            **self.doc,
            "scene": 0,
            "scenes": [{"nodes": roots}],
            "buffers": [{"byteLength": len(self.blob)}],
        }
        text = json.dumps({key: value for key, value in doc.items() if value}).encode()
        text += b" " * (-len(text) % 4)
        sizes = np.array([len(text), len(self.blob)], "<u4")
        head = np.array([2, 28 + int(sizes.sum())], "<u4").tobytes()
        chunks = [b"glTF", head, sizes[:1].tobytes(), b"JSON", text, sizes[1:].tobytes(), b"BIN\0", self.blob]
        path.write_bytes(b"".join(chunks))


def write_scene(path: Path, n_tris: int, n_objects: int, n_frames: int) -> None:
    """Bumpy tubes on a square grid, each with texture coordinates that cover its texture once."""
    rng = np.random.default_rng(0)
    glb = Glb()
    side = max(2, round((n_tris / n_objects / 2) ** 0.5))
    tris, uvs = grid(side)
    columns = int(np.ceil(n_objects**0.5))
    key_times = np.linspace(0, n_frames / FPS, n_frames + 1).astype(np.float32)
    clock = glb.accessor(key_times)
    channels, samplers = [], []

    def animate(node: int, path: str, values: np.ndarray) -> None:
        samplers.append({"input": clock, "output": glb.accessor(values.astype(np.float32))})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    phase = 2 * np.pi * key_times / key_times[-1]
    for number in range(n_objects):
        verts = tube(uvs, rng)
        attributes = {
            "POSITION": glb.accessor(verts),
            "TEXCOORD_0": glb.accessor(uvs),
        }
        primitive: dict[str, Any] = {"attributes": attributes, "indices": glb.accessor(tris.ravel())}
        mesh = glb.add("meshes", {"primitives": [primitive]})
        node = glb.add("nodes", {"mesh": mesh, "name": f"tube_{number}"})
        place = np.array([1.5 * (number % columns), 0, -1.5 * (number // columns)])
        turn = np.stack([np.sin(phase / 2), np.cos(phase / 2)], axis=1)
        zeros = np.zeros(len(phase))
        if number % 10 in SKINNED:
            joints = [glb.add("nodes", {"translation": [0, 1 / JOINTS, 0]}) for _ in range(JOINTS)]
            for above, below in pairwise(joints):
                glb.doc["nodes"][above]["children"] = [below]
            glb.doc["nodes"][joints[0]]["translation"] = place.tolist()
            inverse = np.tile(np.eye(4, dtype=np.float32), (JOINTS, 1, 1))
            inverse[:, 1, 3] = -np.arange(JOINTS) / JOINTS
            binds = glb.accessor(inverse.transpose(0, 2, 1).reshape(-1, 16))
            glb.doc["nodes"][node]["skin"] = glb.add(
                "skins", {"joints": joints, "inverseBindMatrices": binds}
            )
            first = np.clip(verts[:, 1] * JOINTS, 0, JOINTS - 1.001)
            low = first.astype(np.uint8)
            share = (first - low).astype(np.float32)
            none = np.zeros_like(low)
            attributes["JOINTS_0"] = glb.accessor(np.stack([low, low + np.uint8(1), none, none], 1))
            attributes["WEIGHTS_0"] = glb.accessor(
                np.stack([1 - share, share, 0 * share, 0 * share], 1).astype(np.float32)
            )
            for joint in joints:
                bend = 0.1 * np.sin(phase + joint)
                animate(joint, "rotation", np.stack([zeros, zeros, np.sin(bend / 2), np.cos(bend / 2)], 1))
            continue
        glb.doc["nodes"][node]["translation"] = place.tolist()
        if number % 10 in MORPHING:
            deltas = [0.05 * tube(uvs, rng) for _ in range(TARGETS)]
            primitive["targets"] = [{"POSITION": glb.accessor(delta.astype(np.float32))} for delta in deltas]
            weights = 0.5 + 0.5 * np.sin(phase[:, None] + np.arange(TARGETS))
            animate(node, "weights", weights.ravel())
        else:
            animate(node, "rotation", np.stack([zeros, turn[:, 0], zeros, turn[:, 1]], 1))
            animate(node, "translation", place + 0.2 * np.stack([np.sin(phase), zeros, zeros], 1))
    glb.doc["animations"] = [{"name": "All", "channels": channels, "samplers": samplers}]
    glb.save(path)


def grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles and texture coordinates of a square of `side` by `side` quads."""
    v, u = np.divmod(np.arange((side + 1) ** 2), side + 1)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).ravel()
    quads = np.stack([corner, corner + 1, corner + side + 2, corner + side + 1], axis=1)
    tris = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3).astype(np.uint32)
    return tris, np.stack([u / side, v / side], axis=1).astype(np.float32)


def tube(uvs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An upright tube 1 unit high with bumps of its own."""
    angle = 2 * np.pi * uvs[:, 0]
    waves = rng.integers(1, 6, 2)
    radius = 0.4 + 0.1 * np.sin(waves[0] * angle) * np.sin(2 * np.pi * waves[1] * uvs[:, 1])
    places = np.stack([radius * np.cos(angle), uvs[:, 1], radius * np.sin(angle)], axis=1)
    return places.astype(np.float32)


if __name__ == "__main__":
    main()

"""What a diffusion step of the pocket model costs: one frame, with ControlNet and guidance.

    python benchmarks/pocket_speed.py [--frames 8] [--steps 6] [--json]

Prints milliseconds per frame and step of the model alone, as an image model runs it, and of the whole method,
measured in the same process one after the other; the method runs its keyframes besides. The target for the
model alone is 100 ms at 128x128 pixels on two processor cores.
"""

import json
import os
import time
from typing import Any

import torch
from shared import new_parser

from genrender.config import MethodConfig
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import render_gbuffer
from genrender.methods.table import METHODS
from genrender.pipeline import GenerativeRenderingPipeline, load_pipeline
from genrender.scene.camera import Camera
from genrender.scene.procedural.primitives import rotation_about, torus

TARGET_MS = 100


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    pipe = load_pipeline("pocket")
    pipe.set_progress_bar_config(disable=True)
    gbuffers = turning_ring(args.frames, pipe.vae_scale_factor * pipe.unet.config.sample_size)
    report: dict[str, Any] = {
        "frames": args.frames,
        "size": gbuffers[0].width,
        "steps": args.steps,
        "model_ms": step_ms(pipe, gbuffers, METHODS["per-frame"].settings, args.steps),
        "method_ms": step_ms(pipe, gbuffers, METHODS["generative"].settings, args.steps),
        "target_ms": TARGET_MS,
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
    }
    report["ratio"] = report["method_ms"] / report["model_ms"]
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{report['frames']} frames of {report['size']} px, {report['steps']} steps, with guidance")
    print(f"model alone   {report['model_ms']:7.1f} ms per frame and step (target {TARGET_MS})")
    print(f"whole method  {report['method_ms']:7.1f} ms per frame and step, {report['ratio']:.2f} times that")
    print(f"{report['threads']} threads, load average {report['load_average']}")


def turning_ring(n_frames: int, size: int) -> list[GBuffer]:
    """A ring that turns a little from frame to frame."""
    part = torus()
    object_id = torch.ones(len(part.tris), dtype=torch.int32).numpy()
    camera = Camera.look_at(part.verts[0] * 0 + [0.6, 0.8, 1.2], part.verts[0] * 0)
    frames = []
    for frame in range(n_frames):
        verts = part.turned(rotation_about([0.0, 1.0, 0.0], 0.1 * frame)).verts.astype("float32")
        tris, uvs = part.tris.astype("int32"), part.uvs[part.tris].astype("float32")
        frames.append(render_gbuffer(verts, tris, uvs, object_id, camera, size, size))
    return frames


def step_ms(
    pipe: GenerativeRenderingPipeline, gbuffers: list[GBuffer], config: MethodConfig, n_steps: int
) -> float:
    """Milliseconds per frame and step, decoding left out; the first step warms up and does not count."""
    ended: list[float] = []

    def on_step(*_: Any) -> dict[str, Any]:
        ended.append(time.perf_counter())
        return {}

    pipe(
        "a red and white striped donut on a blue background",
        gbuffers,
        config=config,
        num_inference_steps=n_steps + 1,
        output_type="latent",
        callback_on_step_end=on_step,
    )
    return 1000 * (ended[-1] - ended[0]) / n_steps / len(gbuffers)


if __name__ == "__main__":
    main()

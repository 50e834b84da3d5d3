"""What a clip costs: our method against plain per-frame ControlNet and against Text2Video-Zero's attention.

    python benchmarks/speed.py [--frames 24] [--steps 10] [--size 128] [--model pocket] [--json]
    python benchmarks/speed.py --model random-sd15 --size 512 --device cuda
    python benchmarks/speed.py --dtype bfloat16 --compile
    python benchmarks/speed.py --model random-sd15 --size 512 --device cpu --dtype bfloat16 --count

All run on the same weights, depth pictures, sampler, steps, size and precision, one after the other on one
device, each in a process of its own so that its peak memory is its own. With `--repeats` they take turns and
the fastest run of each counts, so that what else the machine does hits all alike. The rivals are diffusers'
own code: `StableDiffusionControlNetPipeline`, without and with its Text2Video-Zero attention processors. Both
get their frames in the same chunks as ours; with chunks, Text2Video-Zero's first frame is each chunk's first.
`random-sd15` and `random-sdxl` have the size of Stable Diffusion 1.5 and XL and random weights: speed does
not depend on the values.

`--count` counts floating-point operations and the bytes of all tensors instead of seconds, for one step:
these hardly depend on the device, so that a CPU can tell what a GPU would have to do and to hold. What
convolutions and attention need inside, and what an allocator loses between tensors, comes on top.

Targets: ours, lock included, at most 1.25 times plain ControlNet at 8 or more frames per keyframe.
"""

import argparse
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.utils.flop_counter
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import ResnetBlock2D
from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline
from diffusers.pipelines.controlnet.pipeline_controlnet_sd_xl import StableDiffusionXLControlNetPipeline
from diffusers.pipelines.deprecated.text_to_video_synthesis.pipeline_text_to_video_zero import (
    CrossFrameAttnProcessor2_0,
)
from full_size import random_sd15, random_sdxl
from shared import WALKING_BIPED, new_parser, now
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genrender.gbuffer.control import depth_control
from genrender.injection.keyframes import covering_frames
from genrender.methods.table import METHODS
from genrender.pipeline import GenerativeRenderingPipeline, load_pipeline
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip
from genrender.storage.memory import gpu_peak_memory_mb, peak_memory_mb, reset_gpu_peak_memory
from genrender.surface.lock import MAX_VIEWS, SurfaceLock, locked_frames
from genrender.surface.sightings import GeometrySightings

SETTINGS = ("model", "frames", "steps", "size", "chunk", "device", "dtype", "compile")
RANDOM = {"random-sd15": random_sd15, "random-sdxl": random_sdxl}
DIFFUSERS = ("plain", "text2video-zero")
MEASURED = (*DIFFUSERS, "generative")
TARGET = 1.25
PROMPT = "a red and white striped biped on a green background"
GUIDANCE = 4.0


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--scene", type=Path, default=WALKING_BIPED)
    parser.add_argument("--model", default="pocket", help="as in `genrender render`, or random-sd15")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--keyframes", type=int, default=None, help="default: one for eight frames")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", help="bfloat16 and so on; default: as in `genrender render`")
    parser.add_argument("--compile", action="store_true", help="torch.compile all blocks but attention")
    parser.add_argument("--count", action="store_true", help="operations and bytes of a step, not seconds")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of all; the fastest run counts")
    parser.add_argument("--only", choices=MEASURED, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(count(args) if args.count else measure(args)))
        return
    if args.repeats < 1:
        parser.error(f"argument --repeats: is {args.repeats}, expected at least 1")
    if args.count:
        if args.repeats > 1:
            parser.error("argument --repeats: --count gives the same numbers every time")
        print_counts(args, {name: in_own_process(name) for name in MEASURED})
        return
    rounds = [{name: in_own_process(name) for name in MEASURED} for _ in range(args.repeats)]
    rows = {name: fastest([row[name] for row in rounds]) for name in MEASURED}
    report: dict[str, Any] = {
        **{key: getattr(args, key) for key in SETTINGS},
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "methods": rows,
        "ratio": rows["generative"]["seconds_per_frame"] / rows["plain"]["seconds_per_frame"],
        "target": TARGET,
    }
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print(f"{args.frames} frames of {args.size} px, {args.steps} steps, {args.model}, {args.device}")
    for name, row in rows.items():
        gpu = "" if row["gpu_peak_memory_mb"] is None else f", GPU {row['gpu_peak_memory_mb']:.0f} MB"
        shares = ", ".join(f"{kind} {share:.0%}" for kind, share in row["shares"].items())
        print(
            f"{name:16} {row['seconds_per_frame']:7.3f} s per frame, peak {row['peak_memory_mb']:.0f} MB{gpu}"
            + (f"; {shares}" if shares else "")
        )
    print(f"generative / plain: {report['ratio']:.2f} (target at most {TARGET})")


def fastest(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run that took the least time, with the highest of all peaks of memory."""
    run = min(runs, key=itemgetter("seconds_per_frame"))
    peaks = {
        key: max(run[key] for run in runs)
        for key in ("peak_memory_mb", "gpu_peak_memory_mb")
        if run[key] is not None
    }
    return run | peaks


def in_own_process(name: str) -> dict[str, Any]:
    words = [sys.executable, __file__, *sys.argv[1:], "--only", name]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def prepare(args: argparse.Namespace) -> tuple[GenerativeRenderingPipeline, Clip, Callable[..., None]]:
    """What every measurement starts from: model, clip, and the function that renders the clip."""
    shot = ShotConfig((args.size, args.size), n_frames=args.frames)
    clip = render_clip(load_scene(args.scene), shot)
    return make_pipeline(args), clip, rival if args.only in DIFFUSERS else ours


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds per frame, decoding included, and peak memory of one method."""
    pipe, clip, run = prepare(args)
    # First calls are slow. What is compiled has to have met all batch sizes, that of the last chunk, too.
    met = args.frames if args.compile else min(args.chunk, args.frames)
    run(pipe, clip.only(range(met)), args, n_steps=1)
    reset_gpu_peak_memory()
    watch: dict[str, float] = {}
    started = now()
    run(pipe, clip, args, args.steps, watch)
    taken = now() - started
    return {
        "seconds_per_frame": taken / args.frames,
        "peak_memory_mb": peak_memory_mb(),
        "gpu_peak_memory_mb": gpu_peak_memory_mb(),
        "shares": {kind: part / taken for kind, part in watch.items()},
    }


class TensorBytes(TorchDispatchMode):
    """Adds up what all tensors that are alive take, those of `networks` included.

    Attributes:
        peak: the largest sum so far, in bytes.
    """

    def __init__(self, *networks: torch.nn.Module):
        super().__init__()
        self.peak = self._now = 0
        self._sizes: dict[int, int] = {}
        for network in networks:
            for tensor in (*network.parameters(), *network.buffers()):
                self._meet(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._meet(tensor)
        return result

    def _meet(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._sizes:  # a view of something that is known
            return
        self._sizes[storage._cdata] = storage.nbytes()
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, storage._cdata)

    def _forget(self, storage: int) -> None:
        self._now -= self._sizes.pop(storage)


def count(args: argparse.Namespace) -> dict[str, Any]:
    """Operations per frame of the networks and of the decoder, and bytes of tensors, in a run of one step."""
    pipe, clip, run = prepare(args)
    mapping = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_operations}
    networks = (pipe.unet, pipe.controlnet, pipe.vae, pipe.text_encoder)
    operations = torch.utils.flop_counter.FlopCounterMode(display=False, custom_mapping=mapping)
    decoding = torch.utils.flop_counter.FlopCounterMode(display=False)
    with torch.no_grad(), decoding:
        side = args.size // pipe.vae_scale_factor
        pipe.vae.decode(torch.zeros(1, pipe.unet.config.in_channels, side, side).to(pipe.device, pipe.dtype))
    with TensorBytes(*networks) as tensors, operations:
        run(pipe, clip, args, n_steps=1)
    per_frame = operations.get_total_flops() / args.frames
    return {
        "step_tflop": (per_frame - decoding.get_total_flops()) / 1e12,
        "decoding_tflop": decoding.get_total_flops() / 1e12,
        "tensors_gb": tensors.peak / 1e9,
    }


def _attention_operations(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    return torch.utils.flop_counter.sdpa_flop_count(query, key, value)


def print_counts(args: argparse.Namespace, rows: dict[str, dict[str, Any]]) -> None:
    ratio = rows["generative"]["step_tflop"] / rows["plain"]["step_tflop"]
    if args.json:
        settings = {key: getattr(args, key) for key in SETTINGS}
        print(json.dumps({**settings, "steps": 1, "methods": rows, "ratio": ratio}, indent=2))
        return
    print(f"{args.frames} frames of {args.size} px, {args.model}, {args.dtype or 'default precision'}")
    for name, row in rows.items():
        print(
            f"{name:16} {row['step_tflop']:.3f} TFLOP per frame and step, {row['decoding_tflop']:.3f} to "
            f"decode it, at most {row['tensors_gb']:.2f} GB in tensors"
        )
    print(f"generative / plain: {ratio:.3f} in a step's operations")


def make_pipeline(args: argparse.Namespace) -> Any:
    dtype = None if args.dtype is None else getattr(torch, args.dtype)
    if args.model in RANDOM:
        if dtype is None:
            dtype = torch.float16 if args.device.startswith("cuda") else torch.float32
        pipe = RANDOM[args.model](dtype).to(args.device)
    else:
        pipe = load_pipeline(args.model, device=args.device, dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    if args.compile:
        # One block after the other, with fixed shapes: attention runs processors that change between calls.
        torch._dynamo.config.cache_size_limit = 1000
        for network in (pipe.unet, pipe.controlnet):
            for block in network.modules():
                if isinstance(block, ResnetBlock2D | FeedForward):
                    block.compile(dynamic=False)
    return pipe


def rival(
    pipe: Any, clip: Clip, args: argparse.Namespace, n_steps: int, _watch: dict[str, float] | None = None
) -> None:
    """diffusers' own pipeline, chunk by chunk."""
    if isinstance(pipe, StableDiffusionXLControlNetPipeline):
        theirs = StableDiffusionXLControlNetPipeline(**pipe.components, add_watermarker=False)
    else:
        theirs = StableDiffusionControlNetPipeline(**pipe.components, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    before = [(network, network.attn_processors) for network in (pipe.unet, pipe.controlnet)]
    if args.only == "text2video-zero":
        for network, _ in before:
            network.set_attn_processor(CrossFrameAttnProcessor2_0(batch_size=2))
    images = torch.from_numpy(depth_control(clip.gbuffers))[:, None].expand(-1, 3, -1, -1)
    side = args.size // pipe.vae_scale_factor
    latents = torch.randn(len(images), pipe.unet.config.in_channels, side, side)
    try:
        for start in range(0, len(latents), args.chunk):
            chunk = slice(start, start + args.chunk)
            n_frames = len(latents[chunk])
            theirs(
                [PROMPT] * n_frames,
                image=images[chunk],
                latents=latents[chunk].to(pipe.device, pipe.unet.dtype),
                num_inference_steps=n_steps,
                guidance_scale=GUIDANCE,
                output_type="np",
            )
    finally:
        for network, processors in before:
            network.set_attn_processor(processors)


def ours(
    pipe: Any, clip: Clip, args: argparse.Namespace, n_steps: int, watch: dict[str, float] | None = None
) -> None:
    """The whole method with default settings, the lock included, its stages timed."""
    import genrender.sampling.surface as surface
    from genrender.backbones.unet import UNetDenoiser

    watch = {} if watch is None else watch
    n_keyframes = args.keyframes or max(1, len(clip.gbuffers) // 8)
    config = METHODS["generative"].settings
    config = replace(config, injection=replace(config.injection, n_keyframes=n_keyframes))

    def timed(kind: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            started = now()
            result = work(*arguments, **options)
            watch[kind] = watch.get(kind, 0.0) + now() - started
            return result

        return call

    original = UNetDenoiser.predict
    seen_steps: set[int] = set()

    def model(self: Any, latents: Any, step: Any, *others: Any) -> Any:
        # The first call of a step is the keyframes', the others are the chunks'.
        kind = "frames" if step.index in seen_steps else "keyframes"
        seen_steps.add(step.index)
        return timed(kind, original)(self, latents, step, *others)

    with (
        patch.object(UNetDenoiser, "predict", model),
        patch.object(surface, "surface_noise", timed("noise", surface.surface_noise)),
        patch.object(pipe.vae, "decode", timed("decoding", pipe.vae.decode)),
    ):
        frames = pipe(
            PROMPT,
            clip.gbuffers,
            config=config,
            num_inference_steps=n_steps,
            guidance_scale=GUIDANCE,
            chunk_size=args.chunk,
        ).frames
    timed("lock", lock)(frames, clip)


def lock(frames: np.ndarray, clip: Clip) -> None:
    """As a run of the default preset does it."""
    views = covering_frames(clip.gbuffers, MAX_VIEWS, seed=0)
    made = SurfaceLock(GeometrySightings(clip.tracker), {view: frames[view] for view in views})
    for _ in locked_frames(frames, made):
        pass


if __name__ == "__main__":
    main()

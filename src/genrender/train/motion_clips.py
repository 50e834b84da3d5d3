"""Clips of the training world with their true video: what a motion module learns from.

The objects are those of `train.world`; creatures walk, things turn, and the camera stands still, circles or
comes nearer. The look of a surface stays, as does the light, so that what a frame should show can be told
from the others.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, UInt8

from genrender.gbuffer.control import depth_control
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.backdrop_ids import GROUND_ID
from genrender.scene.camera import Camera
from genrender.scene.procedural.creatures import walk_cycle
from genrender.scene.procedural.primitives import rotation_about
from genrender.train.light import Rendered, render
from genrender.train.looks import Look, choose_colors, random_look
from genrender.train.objects import CREATURES, GLOSSY, STATIC, Prop
from genrender.train.stages import Piece, Stage, ground, sheet, stand_on_ground
from genrender.train.vocabulary import LOOKS, Described, caption
from genrender.train.world import backdrop, choose_kind, make_setting, stripe_axis

_Y = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class MovingSample:
    """One training clip.

    Attributes:
        images: lit pictures, sRGB.
        depth: depth control images, one range for all frames, as in `gbuffer.control`.
        caption: what the clip shows.
    """

    images: UInt8[np.ndarray, "F H W 3"]
    depth: UInt8[np.ndarray, "F H W"]
    caption: str


@dataclass(frozen=True)
class _Mover:
    """A thing that moves: its first frame, and its vertices in every frame about the same origin."""

    prop: Prop
    look: Look
    said: Described
    poses: Float64[np.ndarray, "F V 3"]


def make_moving_sample(seed: int | tuple[int, ...], size: int = 128, n_frames: int = 16) -> MovingSample:
    """The training clip with this seed, `size` pixels square. Deterministic."""
    rng = np.random.default_rng(seed)
    n_objects = 1 if rng.random() < 0.7 else 2
    # A look that the caption does not name can be learned from other frames alone.
    is_named = rng.random() < 0.5
    movers = [_mover(rng, n_frames, is_named) for _ in range(n_objects)]
    setting = make_setting(rng, rng.random() < 0.4, rng.random() < 0.5)
    while setting.wall is not None:
        setting = make_setting(rng, True, rng.random() < 0.5)
    made = [(mover.prop, mover.look) for mover in movers]
    stage = stand_on_ground(rng, made) if setting.ground else sheet(rng, made)
    around = (ground(setting.ground),) if setting.ground else ()
    behind = backdrop(rng, setting.said, stage, size)
    cameras = _cameras(rng, stage, n_frames)
    light_seed = int(rng.integers(2**31))
    images, gbuffers = [], []
    for frame, camera in enumerate(cameras):
        pieces = [_moved(piece, mover, frame) for piece, mover in zip(stage.pieces, movers, strict=True)]
        shown = Stage((*pieces, *around), camera)
        # The same light and the same soft shadows in all frames.
        rendered = render(np.random.default_rng(light_seed), shown, size, behind)
        images.append(np.round(rendered.image * 255).astype(np.uint8))
        gbuffers.append(_gbuffer(rendered, n_objects))
    depth = np.round(depth_control(gbuffers) * 255).astype(np.uint8)
    text = caption(rng, [mover.said for mover in movers], setting.said)
    return MovingSample(np.stack(images), depth, text)


def _mover(rng: np.random.Generator, n_frames: int, is_named: bool) -> _Mover:
    kind = choose_kind(rng, (*CREATURES, *STATIC))
    patterns = [look for look in LOOKS if look != "plain"]
    pattern = "plain" if rng.random() < 0.4 else patterns[int(rng.integers(len(patterns)))]
    colors = choose_colors(rng, pattern) if is_named else ()
    when = np.arange(n_frames) / n_frames
    if kind in CREATURES:
        creature = CREATURES[kind](rng)
        rest, tris = creature.mesh.verts, creature.mesh.tris
        start, cycles, stride = rng.random(), rng.uniform(0.5, 1.5), rng.uniform(0.3, 1.2)
        poses = [creature.pose(walk_cycle(creature, (start + cycles * t) % 1, stride)) for t in when]
    else:
        mesh = STATIC[kind](rng)
        rest, tris, poses = mesh.verts, mesh.tris, [mesh.verts] * n_frames
    heading, turn = rng.uniform(0, 2 * np.pi), rng.uniform(-1.5, 1.5)
    step = np.array([rng.normal(0, 0.15), 0.0, rng.normal(0, 0.15)])
    posed = [
        pose @ rotation_about(_Y, heading + turn * t).T + t * step
        for pose, t in zip(poses, when, strict=True)
    ]
    prop = Prop(rest, posed[0], tris)
    look = random_look(rng, pattern, colors, stripe_axis(prop, kind), glossy=kind in GLOSSY)
    look = replace(look, as_it_stands=False)  # what moves takes its pattern along
    said = pattern if colors or rng.random() < 0.5 else None
    return _Mover(prop, look, Described(kind, 1, said, colors), np.stack(posed))


def _moved(piece: Piece, mover: _Mover, frame: int) -> Piece:
    """A piece as placed in the first frame, where its object is in another."""
    return replace(piece, verts=piece.verts - mover.poses[0] + mover.poses[frame])


def _cameras(rng: np.random.Generator, stage: Stage, n_frames: int) -> list[Camera]:
    """The stage's camera in every frame: it stands, circles the objects or comes nearer."""
    kind = int(rng.integers(3))
    angle = rng.uniform(-0.6, 0.6) if kind == 1 else 0.0
    nearer = rng.uniform(0.0, 0.3) if kind == 2 else 0.0
    verts = np.concatenate([piece.verts for piece in stage.pieces])
    middle = (verts.max(0) + verts.min(0)) / 2
    cameras = []
    for t in np.arange(n_frames) / n_frames:
        pose = stage.camera.world_from_camera.copy()
        turn = rotation_about(_Y, angle * t)
        pose[:3, :3] = turn @ pose[:3, :3]
        pose[:3, 3] = middle + turn @ (pose[:3, 3] - middle) * (1 - nearer * t)
        cameras.append(replace(stage.camera, world_from_camera=pose))
    return cameras


def _gbuffer(rendered: Rendered, n_objects: int) -> GBuffer:
    """What the control picture is made of; the ground is a backdrop, as `genrender render` adds one."""
    ids = np.where(rendered.piece < n_objects, rendered.piece + 1, GROUND_ID).astype(np.int32)
    shape = ids.shape
    return GBuffer(
        depth=rendered.depth,
        uv=np.zeros((*shape, 2), np.float32),
        object_id=ids,
        tri_id=np.full(shape, -1, np.int32),
        bary=np.zeros((*shape, 2), np.float32),
    )

"""Training pictures: random objects with random looks on random stages, with depth and a caption.

The point of this world is that appearance must travel through attention: many captions do not name the
colours, and then several equal objects in different poses must still agree in one free look. What a caption
does name can be told from it and the depth picture.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from genrender.gbuffer.control import FARTHEST_SURFACE
from genrender.train.light import Rendered, render
from genrender.train.looks import Look, choose_colors, named_color, random_look
from genrender.train.objects import CREATURES, GLOSSY, STATIC, Prop, make_props
from genrender.train.stages import Stage, ground, sheet, stand_on_ground, walls
from genrender.train.vocabulary import COLORS, LOOKS, OBJECTS, Described, Surroundings, caption

N_ATTEMPTS = 4
# Smaller parts of a picture than this need not be named.
LEAST_SHARE = 0.004
# Below this side of a picture patterns are larger, or latents could not hold them.
COARSE_PIXELS = 192
FAMILIAR = ("biped", "biped", "quadruped", "fox", "dog", "horse", "cat", "bird", "truck")


@dataclass(frozen=True)
class Sample:
    """One training picture.

    Attributes:
        image: lit picture, sRGB.
        depth: depth control image: inverse depth, near = 255, farthest surface = 51, background = 0.
        object_id: at latent resolution, 0 is background, ground or wall, instances count from 1.
        caption: what it shows.
        groups: the ground truth behind the caption, for the quality report.
        background: plain, gradient, wall, sky or ground, and, where the caption names it, its main colour.
    """

    image: UInt8[np.ndarray, "H W 3"]
    depth: UInt8[np.ndarray, "H W"]
    object_id: UInt8[np.ndarray, "h w"]
    caption: str
    groups: tuple[Described, ...]
    background: tuple[str, str | None]


def choose_kind(rng: np.random.Generator, among: tuple[str, ...]) -> str:
    """A class of object; those that people animate come more often."""
    familiar = [kind for kind in FAMILIAR if kind in among]
    if familiar and rng.random() < 0.5:
        return familiar[int(rng.integers(len(familiar)))]
    return among[int(rng.integers(len(among)))]


def _group(
    rng: np.random.Generator, count: int, among: tuple[str, ...], plain: float, is_named: bool
) -> tuple[list[Prop], Look, Described]:
    kind = choose_kind(rng, among)
    patterns = [look for look in LOOKS if look != "plain"]
    pattern = "plain" if rng.random() < plain else patterns[int(rng.integers(len(patterns)))]
    colors = choose_colors(rng, pattern) if is_named else ()
    props = make_props(kind, count, rng)
    axis = stripe_axis(props[0], kind)
    look = random_look(rng, pattern, colors, axis, glossy=kind in GLOSSY)
    said = pattern if colors or rng.random() < 0.6 else None
    return props, look, Described(kind, count, said, colors)


def stripe_axis(prop: Prop, kind: str) -> np.ndarray:
    """Upwards; on bodies longer than tall along them and a little upwards, which stripes legs, too."""
    width, height, length = np.ptp(prop.rest, axis=0)
    # The depth of most things does not tell which side is their front.
    if not (kind in CREATURES or kind == "truck") or height > max(width, length):
        return np.array([0.0, 1.0, 0.0])
    return np.array([0.0, 0.53, 0.85])


@dataclass(frozen=True)
class Setting:
    """What is below and behind the objects. `ground` and `wall` are looks, None where there is none."""

    said: Surroundings
    ground: Look | None
    wall: Look | None


def make_setting(rng: np.random.Generator, on_stage: bool, is_named: bool) -> Setting:
    color = list(COLORS)[int(rng.integers(len(COLORS)))]
    if not on_stage:
        behind = "gradient" if rng.random() < 0.25 else "plain"
        return Setting(Surroundings(False, (), None, behind, color if is_named else None), None, None)
    behind = ("plain", "gradient", "sky", "wall")[int(rng.choice(4, p=[0.3, 0.15, 0.2, 0.35]))]
    patterns = ("checkered", "checkered", "wooden", "brick", "striped", "spotted", "marble")
    look = patterns[int(rng.integers(len(patterns)))] if rng.random() < 0.33 else "plain"
    colors = choose_colors(rng, look) if is_named else ()
    level = np.array([0.0, 0.0, 1.0])
    below = random_look(rng, look, colors, level)
    below = replace(below, scale=below.scale * (2.2 if look != "wooden" else 1.6))
    if look in ("wooden", "striped"):
        turn = rng.uniform(0, np.pi)
        axes = np.array([[np.cos(turn), 0, -np.sin(turn)], [np.sin(turn), 0, np.cos(turn)], [0, 1, 0]])
        below = replace(below, rotation=axes)
    else:
        below = replace(below, rotation=np.eye(3))
    wall_look = None
    behind_color = color if rng.random() < 0.3 and is_named and behind != "sky" else None
    if behind == "wall":
        look_of_wall = "brick" if behind_color is None and rng.random() < 0.15 else "plain"
        wall_look = random_look(rng, look_of_wall, (behind_color,) if behind_color else (), np.ones(3))
        wall_look = replace(wall_look, rotation=np.eye(3), scale=2.0)
        if behind_color is None and look_of_wall == "plain":
            wall_look = replace(wall_look, first=_calm_color(rng))
    said = look if look != "plain" and (colors or rng.random() < 0.6) else None
    return Setting(Surroundings(True, colors, said, behind, behind_color), below, wall_look)


def _calm_color(rng: np.random.Generator) -> np.ndarray:
    """A colour for what nobody asked about: pale, or one of the palette."""
    color = named_color(rng, list(COLORS)[int(rng.integers(len(COLORS)))])
    return 0.3 * color + 0.68 if rng.random() < 0.6 else color


def backdrop(
    rng: np.random.Generator, said: Surroundings, stage: Stage, size: int
) -> Float32[np.ndarray, "H W 3"]:
    """What is behind everything: one colour, darker towards an end, or a sky."""
    if said.behind == "sky":
        directions = stage.camera.rays(size, size)[1]
        height = directions[:, 1] / np.linalg.norm(directions, axis=1)
        up = np.clip(height / 0.6, 0, 1).reshape(size, size, 1)
        return (np.array([0.78, 0.88, 0.97]) * (1 - up) + np.array([0.25, 0.5, 0.9]) * up).astype(np.float32)
    color = named_color(rng, said.behind_color) if said.behind_color else _calm_color(rng)
    shade = np.ones(size)
    if said.behind == "gradient":
        shade = np.linspace(rng.uniform(0.7, 1.1), rng.uniform(0.7, 1.1), size)
    whole = np.broadcast_to(color * shade[:, None, None], (size, size, 3))
    return np.clip(whole, 0, 1).astype(np.float32)


def _control(rng: np.random.Generator, rendered: Rendered, n_objects: int, flat: bool) -> np.ndarray:
    """The depth control image of `gbuffer.control`; its range wanders, as it does within a clip.

    Where the ground is a backdrop, as `genrender render` adds one, the range is that of the objects; where it
    is part of the scene, that of all that is seen. A `flat` one leaves ground and walls out.
    """
    own = (rendered.piece >= 0) & (rendered.piece < n_objects)
    seen = own if flat else rendered.piece >= 0
    control = np.zeros(own.shape, np.float32)
    meant = seen if rng.random() < 0.5 else own
    if not meant.any():
        meant = seen
    if meant.any():
        far, near = np.percentile(1 / rendered.depth[meant], [2, 98])
        # A camera that comes nearer doubles what is near within one clip, whose frames share one range.
        low, high = (0.45, 2.3) if rng.random() < 0.3 else (0.75, 1.25)
        far, near = far * rng.uniform(low, 1.0), near * rng.uniform(1.0, high)
        inverse = 1 / rendered.depth[seen]
        share = np.clip((inverse - far) / max(near - far, 0.02 * near), 0, 1)
        value = FARTHEST_SURFACE + (1 - FARTHEST_SURFACE) * share
        around = ~own[seen] & (inverse < far)
        value[around] = FARTHEST_SURFACE * inverse[around] / far
        control[seen] = value
    return np.round(control * 255).astype(np.uint8)


def _make_groups(rng: np.random.Generator, on_stage: bool) -> list[tuple[list[Prop], Look, Described]]:
    everything, creatures, things = tuple(OBJECTS), tuple(CREATURES), tuple(STATIC)
    is_named = rng.random() < 0.72
    layout = rng.random()
    if not on_stage:
        if layout < 0.72:
            return [_group(rng, 1, everything, 0.15, is_named)]
        if layout < 0.92:
            return [_group(rng, int(rng.integers(2, 5)), everything, 0.15, is_named)]
        return [_group(rng, 1, everything, 0.3, is_named) for _ in range(2)]
    if layout < 0.45:
        return [_group(rng, 1, creatures, 0.5, is_named), _group(rng, 1, things, 0.65, is_named)]
    if layout < 0.7:
        return [_group(rng, 1, everything, 0.2, is_named)]
    if layout < 0.85:
        return [_group(rng, int(rng.integers(2, 5)), everything, 0.3, is_named)]
    return [_group(rng, 1, among, 0.6, is_named) for among in (creatures, things, everything)]


def _show(
    rng: np.random.Generator, instances: list[tuple[Prop, Look]], setting: Setting, size: int
) -> tuple[Stage, Rendered]:
    """The objects in their setting, and the picture of it."""
    stage = stand_on_ground(rng, instances) if setting.ground else sheet(rng, instances)
    around = [ground(setting.ground)] if setting.ground else []
    if setting.wall:
        around.append(walls(rng, stage, setting.wall))
    stage = Stage((*stage.pieces, *around), stage.camera)
    return stage, render(rng, stage, size, backdrop(rng, setting.said, stage, size))


def make_sample(seed: int | tuple[int, ...], size: int = 256, latent_side: int = 32) -> Sample:
    """The training picture with this seed, `size` pixels square. Deterministic."""
    rng = np.random.default_rng(seed)
    on_stage = rng.random() < 0.5
    made = _make_groups(rng, on_stage)
    setting = make_setting(rng, on_stage, rng.random() < 0.75)
    coarse = max(1.0, COARSE_PIXELS / size)
    instances = [
        (prop, replace(look, scale=look.scale * coarse)) for props, look, _ in made for prop in props
    ]
    of_group = np.repeat(np.arange(len(made)), [len(props) for props, _, _ in made])
    stage, rendered = _show(rng, instances, setting, size)
    for _ in range(N_ATTEMPTS - 1):
        if _visible(rendered, len(instances)).all():
            break
        stage, rendered = _show(rng, instances, setting, size)
    # What is hidden or out of view cannot be named.
    n_shown = np.bincount(of_group, _visible(rendered, len(instances)), len(made))
    groups = tuple(
        replace(described, count=int(n)) for (_, _, described), n in zip(made, n_shown, strict=True) if n
    )
    control = _control(rng, rendered, stage.n_objects, flat=on_stage and rng.random() < 0.15)
    ids = np.where(rendered.piece < stage.n_objects, rendered.piece + 1, 0)
    cell = size // latent_side
    said = setting.said
    background = (said.behind, said.behind_color)
    if said.has_ground:
        background = ("ground", said.colors[0] if said.colors else None)
    return Sample(
        image=np.round(rendered.image * 255).astype(np.uint8),
        depth=control,
        object_id=ids[cell // 2 :: cell, cell // 2 :: cell].astype(np.uint8),
        caption=caption(rng, groups, said),
        groups=groups,
        background=background,
    )


def _visible(rendered: Rendered, n_objects: int) -> Bool[np.ndarray, "n_objects"]:
    """Which objects are large enough in the picture to be named; the largest one always is."""
    own = rendered.piece[(rendered.piece >= 0) & (rendered.piece < n_objects)]
    counts = np.bincount(own, minlength=n_objects)
    return (counts > LEAST_SHARE * rendered.piece.size) | (counts == counts.max())

"""Deduplicated keys and values: every point once, from the first keyframe that shows it or from the frame."""

from collections.abc import Callable, Sequence
from typing import get_args

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from plain_attention import attend_plainly
from scenes import ball_behind_slab
from tiny_models import TEXT_WIDTH, tiny_unet
from torch import Tensor

from genrender.backbones.attention_sites import (
    feature_size,
    injected_attention,
    installed_processors,
    self_attention_layers,
)
from genrender.config import CorrespondenceConfig, Engine, InjectionConfig, UnifyRule
from genrender.correspondence.engines import make_engine
from genrender.correspondence.gather import FeatureMap
from genrender.injection.state import AttentionState
from genrender.surface.tracking import SurfaceTracker

SIZE = (5, 7)  # neither square nor even
N_FRAMES = 4
BACKGROUND = -1

Points = Callable[[int, int, int], Tensor]


def scattered_points(frame: int, height: int, width: int) -> Tensor:
    """The surface point "L" under each pixel; some lie in several pixels and frames, some are background."""
    generator = torch.Generator().manual_seed(1000 * frame + 10 * height + width)
    points = torch.randint(0, height * width, (height * width,), generator=generator)
    return torch.where(torch.rand(points.shape, generator=generator) < 0.3, BACKGROUND, points)


def one_surface(frame: int, height: int, width: int) -> Tensor:  # noqa: ARG001 (nothing moves)
    return torch.arange(height * width)


class KnownPoints:
    """An engine that is told which point every pixel shows."""

    def __init__(self, points: Points) -> None:
        self.points = points

    def grid(self, features: FeatureMap) -> tuple[int, int]:
        return features.height, features.width

    def blend(
        self,
        keyframes: Sequence[int],
        frames: Sequence[int],
        features: FeatureMap,
        rule: str,
        progress: float = 0.0,  # noqa: ARG002
    ) -> "KnownBlend":
        height, width = self.grid(features)
        assert rule != "fill" or len(keyframes) == 1
        sources, shown = (
            torch.stack([self.points(frame, height, width) for frame in of]) for of in (keyframes, frames)
        )
        return KnownBlend(sources.view(-1, height, width), shown.view(-1, height, width))


class KnownBlend:
    """Tells which points pixels share, and blends nothing: alpha is 0."""

    def __init__(self, sources: Tensor, shown: Tensor) -> None:
        self.sources, self.shown = sources, shown
        self.surface = shown != BACKGROUND

    def __call__(self, _features: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError

    def shows(self, pixels: Tensor) -> Tensor:
        return self.surface & torch.isin(self.shown, self.sources[pixels])


class ReferenceAttention:
    """The rule spelled out, token by token; called for the keyframes first, then for the frames."""

    def __init__(self, points: Points, keyframes: Sequence[int], n_lent: int) -> None:
        self.points = points
        self.keyframes = keyframes
        self.n_lent = n_lent
        self.shared: list[Tensor] = []
        self.known: set[tuple[str, int]] = set()
        self.is_first_call = True
        self.n_keys: list[int] = []

    def __call__(self, attn: Attention, hidden_states: Tensor, *_, **__) -> Tensor:
        height, width = feature_size(hidden_states.shape[1], *SIZE)
        if self.is_first_call:
            self.is_first_call = False
            for k, (frame, tokens) in enumerate(zip(self.keyframes, hidden_states, strict=True)):
                names = self.names(frame, height, width, is_lent=k < self.n_lent)
                self.shared += [
                    token for name, token in zip(names, tokens, strict=True) if name not in self.known
                ]
                self.known |= set(names)
            contexts = [torch.stack(self.shared)] * len(hidden_states)
        else:
            contexts = []
            for frame, tokens in enumerate(hidden_states):
                names = self.names(frame, height, width)
                own = [token for name, token in zip(names, tokens, strict=True) if name not in self.known]
                contexts.append(torch.stack([*own, *self.shared]))
        self.n_keys += [len(context) for context in contexts]
        rows = zip(hidden_states, contexts, strict=True)
        return torch.stack([attend_plainly(attn, own, context) for own, context in rows])

    def names(self, frame: int, height: int, width: int, is_lent: bool = False) -> list[tuple[str, int]]:
        """What each pixel shows: a point of the surface, or the background in that place of the picture."""
        background = "lent background" if is_lent else "background"
        return [
            (background, pixel) if point == BACKGROUND else ("surface", point)
            for pixel, point in enumerate(self.points(frame, height, width).tolist())
        ]


class FirstRow:
    """All rows read the tokens of the first one."""

    def __call__(self, attn: Attention, hidden_states: Tensor, *_, **__) -> Tensor:
        return torch.stack([attend_plainly(attn, own, hidden_states[0]) for own in hidden_states])


@torch.no_grad()
def run(unet: UNet2DConditionModel, frames: Sequence[int], branches: Sequence[int] = (0,)) -> Tensor:
    """The UNet's outputs "branches frames ..." for some frames of a fixed clip."""
    latents, text = (
        torch.randn(2, N_FRAMES, *shape, generator=torch.Generator().manual_seed(0))[list(branches)]
        for shape in ((4, *SIZE), (6, TEXT_WIDTH))
    )
    latents, text = (rows[:, list(frames)].flatten(0, 1) for rows in (latents, text))
    output = unet(latents, torch.tensor(300), encoder_hidden_states=text).sample
    return output.unflatten(0, (len(branches), -1))


def ours(
    unet: UNet2DConditionModel,
    points: Points,
    keyframes: Sequence[int],
    n_lent: int = 0,
    chunk: int = N_FRAMES,
    branches: Sequence[int] = (0,),
    unify: UnifyRule = "paper",
) -> tuple[Tensor, AttentionState]:
    """All frames' outputs "branches frames ...", after a step with other keyframes."""
    config = InjectionConfig(alpha=0.0, layers="attn1", unify=unify)
    state = AttentionState(config, len(branches), KnownPoints(points))
    outputs: list[Tensor] = []
    with injected_attention(unet, state, SIZE):
        for of_step, n_lent_then in ((list(reversed(range(N_FRAMES))), 0), (keyframes, n_lent)):
            outputs.clear()
            state.n_lent = n_lent_then
            state.start_keyframes(of_step)
            run(unet, of_step, branches)
            for start in range(0, N_FRAMES, chunk):
                frames = list(range(start, min(start + chunk, N_FRAMES)))
                state.start_frames(frames)
                outputs.append(run(unet, frames, branches))
    return torch.cat(outputs, dim=1), state


@pytest.mark.parametrize("unify", get_args(UnifyRule))
@pytest.mark.parametrize(
    ("keyframes", "n_lent"),
    [([2], 0), ([0, 3], 0), ([0, 3], 1), ([1, 0, 3], 0), ([1, 0, 3], 2), ([0, 1, 2, 3], 0)],
)
def test_a_token_is_read_unless_a_keyframes_token_shows_its_point(
    keyframes: list[int], n_lent: int, unify: UnifyRule
):
    unet = tiny_unet()
    result, _ = ours(unet, scattered_points, keyframes, n_lent, unify=unify)
    references = {
        layer: ReferenceAttention(scattered_points, keyframes, n_lent)
        for layer in self_attention_layers(unet)
    }
    with installed_processors(unet, references):
        run(unet, keyframes)
        expected = run(unet, range(N_FRAMES))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    # The rule did something: fewer keys than all, and frames that have keys of their own.
    n_tokens = SIZE[0] * SIZE[1]
    counts = max((reference.n_keys for reference in references.values()), key=max)
    assert max(counts) < n_tokens * (len(keyframes) + 1)
    assert len(set(counts)) > 1 or len(keyframes) == N_FRAMES


def test_frames_that_show_nothing_new_read_the_keyframe_alone():
    unet = tiny_unet()
    result, state = ours(unet, one_surface, [1])
    assert state._own_tokens
    assert all(len(tokens) == 0 for of_size in state._own_tokens.values() for tokens in of_size)
    with installed_processors(unet, {layer: FirstRow() for layer in self_attention_layers(unet)}):
        expected = run(unet, [1, 0, 1, 2, 3])[:, 1:]
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


def test_without_any_surface_the_background_is_that_of_the_first_keyframe():
    unet = tiny_unet()
    nothing, _ = ours(unet, lambda _, height, width: torch.full((height * width,), BACKGROUND), [1, 2])
    surface, _ = ours(unet, one_surface, [1, 2])
    assert torch.equal(nothing, surface)


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_change_nothing(chunk: int):
    unet = tiny_unet()
    at_once, _ = ours(unet, scattered_points, [0, 2])
    in_chunks, _ = ours(unet, scattered_points, [0, 2], chunk=chunk)
    torch.testing.assert_close(in_chunks, at_once, atol=1e-5, rtol=1e-5)


def test_branches_are_kept_apart():
    unet = tiny_unet()
    both, _ = ours(unet, scattered_points, [0, 2], branches=(0, 1))
    assert (both[0] - both[1]).abs().max() > 1e-3
    for branch in (0, 1):
        alone, _ = ours(unet, scattered_points, [0, 2], branches=(branch,))
        torch.testing.assert_close(both[branch], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("engine_name", ["texture", "reproject"])
def test_what_is_left_out_is_shown_by_a_token_that_is_read(engine_name: Engine):
    """Engines sample: what two pixels share with a third they need not share with each other."""
    gbuffers, tris, verts, cameras = ball_behind_slab(n_frames=6, step=0.12)
    tracker = SurfaceTracker(gbuffers, tris, verts, cameras)
    engine = make_engine(gbuffers, CorrespondenceConfig(engine_name), torch.device("cpu"), tracker)
    keyframes, frames, size = [0, 2, 5], [0, 1, 2, 3, 4, 5], (12, 16)
    state = AttentionState(InjectionConfig(alpha=0.0, layers="attn1"), 1, engine)
    state.start_keyframes(keyframes)
    features = state._map_of(FeatureMap(*size, "layer"))
    read = torch.zeros(3 * 12 * 16, dtype=torch.bool)
    read[state._find_shared_tokens(features).index] = True
    read = read.view(3, *size)
    state.start_frames(frames)
    own = torch.zeros(len(frames), 12 * 16, dtype=torch.bool)
    for frame, tokens in enumerate(state._find_own_tokens(features)):
        own[frame, tokens] = True
    blend = engine.blend(keyframes, frames, features, "mean")
    left_out = blend.surface & ~own.view(-1, *size)
    assert left_out.any()
    assert not (left_out & ~blend.shows(read)).any()
    assert not (blend.surface[keyframes] & ~read & ~blend.shows(read)[keyframes]).any()
    # It matters: other tokens of the keyframes show more.
    assert (blend.shows(torch.ones_like(read)) & ~blend.shows(read)).any()

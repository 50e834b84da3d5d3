"""Deduplicated keys and values: every point once, from the first keyframe that shows it or from the frame."""

from collections.abc import Callable, Sequence

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from plain_attention import attend_plainly
from tiny_models import TEXT_WIDTH, tiny_unet
from torch import Tensor

from genrender.config import InjectionConfig
from genrender.diffusion.attention import feature_size
from genrender.diffusion.attention_state import AttentionState
from genrender.diffusion.processors import injected_attention, installed_processors, self_attention_layers

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

    def side(self, layer: str, height: int, width: int) -> None:
        """No textures."""

    def blend(
        self,
        keyframes: Sequence[int],
        frames: Sequence[int],
        height: int,
        width: int,
        rule: str,  # noqa: ARG002
        side: int | None = None,  # noqa: ARG002
    ):
        def carry(_features: Tensor) -> tuple[Tensor, Tensor]:
            raise AssertionError("alpha is 0: nothing is blended")

        shown = torch.stack([self.points(frame, height, width) for frame in frames])
        known = torch.cat([self.points(keyframe, height, width) for keyframe in keyframes])
        carry.surface = (shown != BACKGROUND).view(-1, height, width)
        carry.seen = carry.surface & torch.isin(shown, known).view(-1, height, width)
        return carry


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
                self.known |= {name for name in names if name[0] != "lent background"}
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


@torch.no_grad()
def run(unet: UNet2DConditionModel, frames: Sequence[int], n_branches: int = 1) -> Tensor:
    latents, text = (
        torch.randn(n_branches, N_FRAMES, *shape, generator=torch.Generator().manual_seed(0))[:, list(frames)]
        for shape in ((4, *SIZE), (6, TEXT_WIDTH))
    )
    return unet(latents.flatten(0, 1), torch.tensor(300), encoder_hidden_states=text.flatten(0, 1)).sample


def ours(
    unet: UNet2DConditionModel,
    points: Points,
    keyframes: Sequence[int],
    n_lent: int = 0,
    chunk: int = N_FRAMES,
) -> tuple[Tensor, AttentionState]:
    config = InjectionConfig(alpha=0.0, layers="attn1")
    state = AttentionState(config, 1, SIZE, KnownPoints(points))
    state.n_lent = n_lent
    outputs = []
    with injected_attention(unet, state):
        state.start_keyframes(keyframes)
        run(unet, keyframes)
        for start in range(0, N_FRAMES, chunk):
            frames = list(range(start, min(start + chunk, N_FRAMES)))
            state.start_frames(frames)
            outputs.append(run(unet, frames))
    return torch.cat(outputs), state


@pytest.mark.parametrize(
    ("keyframes", "n_lent"), [([2], 0), ([0, 3], 0), ([0, 3], 1), ([1, 0, 3], 0), ([1, 0, 3], 2)]
)
def test_every_point_has_one_key(keyframes: list[int], n_lent: int):
    unet = tiny_unet()
    result, _ = ours(unet, scattered_points, keyframes, n_lent)
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
    assert len(set(counts)) > 1


def test_frames_that_show_nothing_new_read_the_keyframe_alone():
    unet = tiny_unet()
    result, state = ours(unet, one_surface, [1])
    assert {memory.key.shape[2] for memory in state._memory.values() if memory.key is not None} <= {
        height * width for height, width in (SIZE, (3, 4), (2, 2))
    }
    # A keyframe reads its own tokens alone, which is ordinary self-attention.
    torch.testing.assert_close(result[1], run(unet, range(N_FRAMES))[1], atol=1e-5, rtol=1e-5)
    assert (result[0] - run(unet, range(N_FRAMES))[0]).abs().max() > 1e-3


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_change_nothing(chunk: int):
    unet = tiny_unet()
    at_once, _ = ours(unet, scattered_points, [0, 2])
    in_chunks, _ = ours(unet, scattered_points, [0, 2], chunk=chunk)
    torch.testing.assert_close(in_chunks, at_once, atol=1e-5, rtol=1e-5)


def test_branches_read_keys_of_their_own():
    unet = tiny_unet()
    config = InjectionConfig(alpha=0.0, layers="attn1")
    outputs = []
    for n_branches in (1, 2):
        state = AttentionState(config, n_branches, SIZE, KnownPoints(scattered_points))
        with injected_attention(unet, state):
            state.start_keyframes([0, 2])
            run(unet, [0, 2], n_branches)
            state.start_frames(range(N_FRAMES))
            outputs.append(run(unet, range(N_FRAMES), n_branches))
    alone, both = outputs
    torch.testing.assert_close(both[:N_FRAMES], alone, atol=1e-5, rtol=1e-5)
    assert (both[N_FRAMES:] - both[:N_FRAMES]).abs().max() > 1e-3

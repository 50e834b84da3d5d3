from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from plain_attention import attend_plainly
from screen_blend import ScreenBlend
from tiny_models import TEXT_WIDTH, sd15_shaped_unet, tiny_unet
from torch import Tensor

from genrender.backbones.attention_sites import (
    InjectedSelfAttention,
    feature_size,
    injected_attention,
    select_layers,
    self_attention_layers,
)
from genrender.config import InjectionConfig
from genrender.correspondence.gather import FeatureMap
from genrender.errors import ConfigError, ModelError
from genrender.injection.state import AttentionState

SIZE = (5, 7)  # neither square nor even
ALL_LAYERS = "attn1"


class CarryOver:
    """An engine without geometry: every frame sees, everywhere or nowhere, the features of one keyframe, the
    nearest or always the same.
    """

    def __init__(self, is_valid: bool = True, always: int | None = None) -> None:
        self.is_valid = is_valid
        self.always = always
        self.prepared: list[tuple[int, int, int]] = []

    def grid(self, features: FeatureMap) -> tuple[int, int, int]:
        height, width = features.height, features.width
        return height, width, 99 if features.layer.startswith("up_blocks.0") else max(height, width)

    def blend(
        self,
        keyframes: Sequence[int],
        frames: Sequence[int],
        features: FeatureMap,
        rule: str,
        progress: float = 0.0,  # noqa: ARG002
    ) -> ScreenBlend:
        self.prepared.append(self.grid(features))
        height, width = features.height, features.width
        nearest = [min(range(len(keyframes)), key=lambda k: abs(keyframes[k] - frame)) for frame in frames]
        if self.always is not None:
            nearest = [self.always] * len(frames)
        valid = torch.full((len(frames), height, width), self.is_valid)

        def carry(sources: Tensor) -> Tensor:
            assert sources.shape[-2:] == (height, width), rule
            return sources[nearest]

        return ScreenBlend(carry, valid)


class PreOnlyState(AttentionState):
    """The full method, engine, alpha and all, whose post-attention injection does nothing."""

    def injection(self, layer: str, output: Tensor) -> Tensor:  # noqa: ARG002 (as in the base class)
        return output


class ReferenceExtendedAttention:
    """Pre-attention spelled out, one row and one head at a time, from the keyframes' normed hidden states."""

    def __init__(self) -> None:
        self.remembered: list[Tensor] | None = None

    def __call__(self, attn: Attention, hidden_states: Tensor, *_, **__) -> Tensor:
        if self.remembered is None:
            self.remembered = list(hidden_states)
            contexts = [torch.cat(self.remembered)] * len(hidden_states)
        else:
            contexts = [torch.cat([own, *self.remembered]) for own in hidden_states]
        rows = zip(hidden_states, contexts, strict=True)
        return torch.stack([attend_plainly(attn, own, context) for own, context in rows])


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return tiny_unet()


def make_state(n_branches: int = 1, engine: CarryOver | None = None, **settings) -> AttentionState:
    config = InjectionConfig(**({"alpha": 0.0, "deduplicate": False, "layers": ALL_LAYERS} | settings))
    return AttentionState(config, n_branches, engine)


def inputs(n_rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(n_rows, 4, *SIZE, generator=generator)
    return latents, torch.randn(n_rows, 6, TEXT_WIDTH, generator=generator)


@torch.no_grad()
def run(unet: UNet2DConditionModel, latents: Tensor, text: Tensor) -> Tensor:
    return unet(latents, torch.tensor(300), encoder_hidden_states=text).sample


def two_passes(
    unet: UNet2DConditionModel,
    state: AttentionState,
    latents: Tensor,
    text: Tensor,
    keyframes: list[int],
    frames: list[int],
) -> Tensor:
    """Keyframe pass and frame pass; `latents` and `text` are branch-major rows of the whole clip."""
    n_frames = latents.shape[0] // state.n_branches

    def rows(of: list[int]) -> list[int]:
        return [branch * n_frames + frame for branch in range(state.n_branches) for frame in of]

    with injected_attention(unet, state, SIZE):
        state.start_keyframes(keyframes)
        run(unet, latents[rows(keyframes)], text[rows(keyframes)])
        state.start_frames(frames)
        return run(unet, latents[rows(frames)], text[rows(frames)])


def test_processors_are_restored_after_an_exception(unet: UNet2DConditionModel):
    before = unet.attn_processors
    with pytest.raises(ZeroDivisionError), injected_attention(unet, make_state(), SIZE):  # noqa: PT012
        during = unet.attn_processors
        assert all(isinstance(during[name], InjectedSelfAttention) for name in during if "attn1" in name)
        assert all(during[name] is before[name] for name in during if "attn2" in name)
        raise ZeroDivisionError
    after = unet.attn_processors
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def test_with_every_injection_off_the_unet_is_left_alone(unet: UNet2DConditionModel):
    state = make_state(pre_attn=False)
    assert not state.is_active
    before = unet.attn_processors
    with injected_attention(unet, state, SIZE):
        during = unet.attn_processors
        assert all(during[name] is before[name] for name in before)


@pytest.mark.parametrize("make_unet", [tiny_unet, sd15_shaped_unet])
def test_before_the_first_pass_processors_compute_ordinary_self_attention(make_unet):
    unet = make_unet()
    latents, text = inputs(2)
    plain = run(unet, latents, text)
    with injected_attention(unet, make_state(), SIZE):
        torch.testing.assert_close(run(unet, latents, text), plain, atol=1e-6, rtol=1e-5)


def test_both_passes_equal_the_reference(unet: UNet2DConditionModel):
    latents, text = inputs(4)
    keyframes, frames = [0, 2], [1, 2, 3]
    result = two_passes(unet, make_state(), latents, text, keyframes, frames)

    before = unet.attn_processors
    references = {name: ReferenceExtendedAttention() for name in before if "attn1" in name}
    unet.set_attn_processor({**before, **references})
    try:
        run(unet, latents[keyframes], text[keyframes])
        expected = run(unet, latents[frames], text[frames])
    finally:
        unet.set_attn_processor(before)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    assert (
        result - run(unet, latents[frames], text[frames])
    ).abs().max() > 1e-3  # the injection does something


@pytest.mark.parametrize("n_branches", [1, 2])
def test_one_keyframe_that_is_the_frame_itself_is_ordinary_self_attention(
    unet: UNet2DConditionModel, n_branches: int
):
    latents, text = inputs(n_branches)
    result = two_passes(unet, make_state(n_branches), latents, text, [0], [0])
    torch.testing.assert_close(result, run(unet, latents, text), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.7}, {"alpha": 0.7, "pre_attn": False}])
def test_branches_are_kept_apart(unet: UNet2DConditionModel, settings: dict):
    engine = CarryOver()
    latents, text = inputs(6)
    keyframes, frames = [0, 2], [0, 1, 2]
    both = two_passes(unet, make_state(2, engine, **settings), latents, text, keyframes, frames)
    # Change everything about the unconditional branch: latents and text.
    other_latents, other_text = inputs(6, seed=1)
    other_latents[3:], other_text[3:] = latents[3:], text[3:]
    changed = two_passes(
        unet, make_state(2, engine, **settings), other_latents, other_text, keyframes, frames
    )
    assert torch.equal(changed[3:], both[3:])
    assert not torch.allclose(changed[:3], both[:3])
    # Each branch is what it would be alone.
    for branch in (slice(0, 3), slice(3, 6)):
        state = make_state(1, engine, **settings)
        alone = two_passes(unet, state, latents[branch], text[branch], keyframes, frames)
        torch.testing.assert_close(both[branch], alone, atol=1e-5, rtol=1e-5)


def test_alpha_zero_and_surfaces_nowhere_valid_equal_pre_only_bit_for_bit(unet: UNet2DConditionModel):
    latents, text = inputs(4)
    arguments = (latents, text, [0, 3], [0, 1, 2, 3])
    config = InjectionConfig(alpha=0.6, deduplicate=False, layers=ALL_LAYERS)
    pre_only = two_passes(unet, PreOnlyState(config, 1, CarryOver()), *arguments)
    alpha_zero = two_passes(unet, make_state(alpha=0.0, engine=CarryOver()), *arguments)
    never_valid = two_passes(unet, make_state(alpha=0.6, engine=CarryOver(is_valid=False)), *arguments)
    assert torch.equal(alpha_zero, pre_only)
    assert torch.equal(never_valid, pre_only)
    blended = two_passes(unet, make_state(alpha=0.6, engine=CarryOver()), *arguments)
    assert not torch.allclose(blended, pre_only)


def test_keyframes_get_features_from_the_surface_like_all_other_frames(unet: UNet2DConditionModel):
    latents, text = inputs(2)
    layer = self_attention_layers(unet)[-1]
    outputs: list[Tensor] = []
    hook = unet.get_submodule(layer).register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        for alpha in (0.0, 0.5):
            state = make_state(alpha=alpha, engine=CarryOver(always=0), pre_attn=False, layers=layer)
            with injected_attention(unet, state, SIZE):
                state.start_keyframes([0, 1])
                run(unet, latents, text)
    finally:
        hook.remove()
    plain, injected = outputs
    torch.testing.assert_close(injected[0], plain[0])
    torch.testing.assert_close(injected[1], 0.5 * (plain[0] + plain[1]))


def test_blending_a_frame_with_its_own_outputs_changes_nothing(unet: UNet2DConditionModel):
    latents, text = inputs(3)
    state = make_state(alpha=0.8, engine=CarryOver(), pre_attn=False)
    result = two_passes(unet, state, latents, text, [0, 1, 2], [0, 1, 2])
    torch.testing.assert_close(result, run(unet, latents, text), atol=1e-5, rtol=1e-5)


def test_alpha_one_gives_every_frame_the_keyframes_outputs(unet: UNet2DConditionModel):
    """With all layers replaced, attention no longer tells frames apart: a keyframe's outputs come through."""
    outputs: list[Tensor] = []
    layer = self_attention_layers(unet)[-1]
    latents, text = inputs(3)
    state = make_state(alpha=1.0, engine=CarryOver(), layers=layer)
    hook = unet.get_submodule(layer).register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        two_passes(unet, state, latents, text, [1], [0, 1, 2])
    finally:
        hook.remove()
    keyframe_output, frame_outputs = outputs
    for frame in range(3):
        assert torch.equal(frame_outputs[frame], keyframe_output[0])


def test_layers_share_a_blend_where_maps_and_textures_are_of_one_size(unet: UNet2DConditionModel):
    latents, text = inputs(3)
    engine = CarryOver()
    state = make_state(engine=engine, alpha=0.5)
    two_passes(unet, state, latents, text, [0], [1, 2])
    names = [name for name in self_attention_layers(unet) if name.startswith("up_blocks.0")]
    assert names
    # Once for the keyframes and once for the other frames.
    assert set(Counter(engine.prepared).values()) == {2}
    assert {side for _, _, side in engine.prepared} >= {99, max(SIZE)}


def test_projections_are_called_as_modules(unet: UNet2DConditionModel):
    """What LoRA and quantisation put in the place of a projection must run."""
    attention = unet.get_submodule(self_attention_layers(unet)[0])
    assert isinstance(attention, Attention)
    plain_query, latents_and_text = attention.to_q, inputs(2)
    untouched = run(unet, *latents_and_text)
    attention.to_q = torch.nn.Sequential(plain_query, torch.nn.Tanh())
    try:
        expected = run(unet, *latents_and_text)
        with injected_attention(unet, make_state(), SIZE):
            result = run(unet, *latents_and_text)
    finally:
        attention.to_q = plain_query
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(result, untouched)


def test_residual_and_rescaling_follow_the_layer():
    torch.manual_seed(0)
    attention = Attention(
        16, heads=2, dim_head=8, residual_connection=True, rescale_output_factor=2.0, qk_norm="layer_norm"
    )
    hidden_states = torch.randn(2, 35, 16)
    with torch.no_grad():
        expected = AttnProcessor2_0()(attention, hidden_states)
        result = InjectedSelfAttention("layer", make_state(), SIZE)(attention, hidden_states)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-5)


def test_a_chunk_before_any_keyframe_is_refused(unet: UNet2DConditionModel):
    state = make_state()
    with injected_attention(unet, state, SIZE):
        state.start_frames([0])
        with pytest.raises(ModelError, match="saw no keyframe"):
            run(unet, *inputs(1))


def test_layers_are_selected_by_regular_expression(unet: UNet2DConditionModel):
    assert len(select_layers(unet, "")) == len(self_attention_layers(unet)) == 7
    decoder = select_layers(unet, InjectionConfig().layers)
    assert len(decoder) == 4
    assert all(name.startswith("up_blocks.") and name.endswith("attn1") for name in decoder)
    assert len(self_attention_layers(sd15_shaped_unet())) == 16


def test_layers_that_match_nothing_name_those_there_are(unet: UNet2DConditionModel):
    with pytest.raises(ConfigError, match=r"matches no self-attention layer.*up_blocks\.0\.attentions\.0"):
        select_layers(unet, "attn2")
    with pytest.raises(ConfigError, match="no regular expression"):
        select_layers(unet, "(")


def test_layers_that_read_text_are_not_offered():
    assert self_attention_layers(tiny_unet(only_cross_attention=True)) == [
        "mid_block.attentions.0.transformer_blocks.0.attn1"
    ]


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_out_of_range_is_refused(alpha: float):
    with pytest.raises(ConfigError, match=r"expected a number in 0\.\.1"):
        make_state(alpha=alpha, engine=CarryOver())


def test_alpha_needs_an_engine():
    with pytest.raises(ConfigError, match="correspondence engine"):
        make_state(alpha=0.5)


def test_alpha_may_change_with_the_steps(unet: UNet2DConditionModel):
    latents, text = inputs(2)
    state = make_state(engine=CarryOver(), alpha=0.0, alpha_end=1.0, pre_attn=False, layers=ALL_LAYERS)

    def at(progress):
        with injected_attention(unet, state, SIZE):
            state.start_keyframes([0], progress)
            run(unet, latents[[0]], text[[0]])
            state.start_frames([0, 1])
            return run(unet, latents, text)

    torch.testing.assert_close(at(0.0), run(unet, latents, text))
    assert (at(1.0)[1] - at(0.0)[1]).abs().max() > 1e-4


@pytest.mark.parametrize("height", [1, 5, 8, 13])
@pytest.mark.parametrize("width", [1, 6, 7, 16])
def test_feature_size_finds_every_level_of_odd_and_narrow_latents(height: int, width: int):
    h, w = height, width
    for _ in range(4):
        convolution = torch.nn.Conv2d(1, 1, 3, stride=2, padding=1)
        assert feature_size(h * w, height, width) == (h, w)
        h, w = convolution(torch.zeros(1, 1, h, w)).shape[-2:]


def test_feature_size_tells_tall_from_wide():
    assert feature_size(24, 12, 8) == (6, 4)
    assert feature_size(24, 8, 12) == (4, 6)


def test_feature_size_refuses_a_number_of_tokens_that_no_level_has():
    with pytest.raises(ModelError, match="received 30 tokens"):
        feature_size(30, 8, 8)

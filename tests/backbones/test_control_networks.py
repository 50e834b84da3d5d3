"""Control networks of every kind, several at once: equal to diffusers' own pipelines, frame by frame."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from control_runs import (
    FIRST,
    HEIGHT,
    N_FRAMES,
    PICTURES,
    PROMPT,
    SD,
    SD_UNET,
    SECOND,
    WIDTH,
    XL,
    XL_UNET,
    assert_equal,
    of,
    ours,
    theirs,
    unit_latents,
)
from diffusers import (
    MultiAdapter,
    MultiControlNetModel,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
)
from diffusers.models.controlnets.multicontrolnet_union import MultiControlNetUnionModel
from tiny_controls import other_controlnet, tiny_adapter, tiny_union
from tiny_models import sliding_card, tiny_controlnet, tiny_unet
from tiny_motion import motion_pipeline
from torch import Tensor

from genrender.backbones.controls import UNION_MODES
from genrender.backbones.families import backbone_of
from genrender.backbones.protocol import Conditions
from genrender.backbones.recipe import Control
from genrender.config import PER_FRAME, InjectionConfig, MethodConfig
from genrender.errors import ConfigError
from genrender.sampling.loop import SamplingConfig, sample
from genrender.sampling.surface import ClipSurface
from genrender.scene.camera import Lens


@pytest.fixture(scope="module")
def plain_sd() -> Tensor:
    return ours(SD, FIRST, [Control(scale=0.0)])


@pytest.fixture(scope="module")
def plain_xl() -> Tensor:
    return ours(XL, tiny_controlnet(XL_UNET), [Control(scale=0.0)])


def test_several_controlnets_each_with_scale_start_and_end(plain_sd):
    held = MultiControlNetModel([FIRST, SECOND])
    controls = [Control("depth", scale=0.8, end=0.6), Control("normal", scale=0.5, start=0.25)]
    result = ours(SD, held, controls)
    expected = theirs(
        StableDiffusionControlNetPipeline(**SD, controlnet=held, requires_safety_checker=False),
        of("depth", "normal"),
        controlnet_conditioning_scale=[0.8, 0.5],
        control_guidance_start=[0.0, 0.25],
        control_guidance_end=[0.6, 1.0],
    )
    assert_equal(result, expected, plain_sd)
    always = ours(SD, held, [Control("depth", scale=0.8), Control("normal", scale=0.5)])
    assert (always - result).abs().max() > 1e-2
    alone = ours(SD, FIRST, [controls[0]])
    assert (alone - result).abs().max() > 1e-2


@pytest.mark.parametrize("guidance_scale", [5.0, 1.0])
def test_guess_mode(guidance_scale):
    pipeline = StableDiffusionControlNetPipeline(**SD, controlnet=FIRST, requires_safety_checker=False)
    expected = theirs(pipeline, of("depth"), guess_mode=True, guidance_scale=guidance_scale)
    result = ours(SD, FIRST, [Control()], guidance_scale, guess_mode=True)
    assert_equal(result, expected, ours(SD, FIRST, [Control()], guidance_scale))


def test_in_guess_mode_networks_read_the_prompts_of_objects_too():
    """They see the conditional branch only, and so the rows of that."""
    held = MultiControlNetModel([FIRST, SECOND])
    controls = [Control("depth"), Control("lineart")]
    named, plain = (
        ours(SD, held, controls, guess_mode=True, object_prompts=texts) for texts in ({1: "a duck"}, None)
    )
    assert (named - plain).abs().max() > 1e-3
    # An object that fills the picture, and whose text is the clip's, changes nothing.
    same = ours(SD, held, controls, guess_mode=True, object_prompts={1: PROMPT})
    torch.testing.assert_close(same, plain, atol=1e-4, rtol=0)


def test_a_controlnet_that_pools_what_it_says(plain_sd):
    pooling = other_controlnet(SD_UNET, global_pool_conditions=True)
    pipeline = StableDiffusionControlNetPipeline(**SD, controlnet=pooling, requires_safety_checker=False)
    result = ours(SD, pooling, [Control("segmentation")])
    assert_equal(result, theirs(pipeline, of("segmentation")), plain_sd)
    # Beside another one each is itself, in whatever order they stand.
    both = [
        ours(SD, MultiControlNetModel(nets), [Control()] * 2) for nets in ([pooling, FIRST], [FIRST, pooling])
    ]
    torch.testing.assert_close(*both, atol=1e-5, rtol=0)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_order_of_channels(plain_sd, order):
    network = other_controlnet(SD_UNET, controlnet_conditioning_channel_order=order)
    pipeline = StableDiffusionControlNetPipeline(**SD, controlnet=network, requires_safety_checker=False)
    result = ours(SD, network, [Control("normal")])
    assert_equal(result, theirs(pipeline, of("normal")), plain_sd)


def test_networks_of_one_and_of_six_channels(plain_sd):
    one = other_controlnet(SD_UNET, conditioning_channels=1)
    six = other_controlnet(SD_UNET, conditioning_channels=6)
    for network, controls, shown in (
        (one, [Control("depth")], lambda f: PICTURES["depth"][[f], :1]),
        (
            six,
            [Control("normal", scale=0.7), Control("depth", scale=0.7)],
            lambda f: torch.cat([PICTURES["normal"][[f]], PICTURES["depth"][[f]]], dim=1),
        ),
    ):
        pipeline = StableDiffusionControlNetPipeline(**SD, controlnet=network, requires_safety_checker=False)
        expected = theirs(pipeline, shown, controlnet_conditioning_scale=controls[0].scale)
        assert_equal(ours(SD, network, controls), expected, plain_sd)
    # Four: a grey one and one in colours.
    four = other_controlnet(SD_UNET, conditioning_channels=4)
    assert ours(SD, four, [Control("depth"), Control("normal")]).isfinite().all()


@pytest.mark.parametrize(
    "settings", [{}, {"adapter_type": "light_adapter", "channels": [8]}, {"in_channels": 1}]
)
def test_t2i_adapters_of_stable_diffusion(plain_sd, settings):
    adapter = tiny_adapter(SD_UNET, **settings)
    if settings.get("adapter_type") == "light_adapter":
        unet = tiny_unet(block_out_channels=(8, 8))
        components = SD | {"unet": unet}
        plain = ours(components, tiny_controlnet(unet), [Control(scale=0.0)])
    else:
        components, plain = SD, plain_sd
    pipeline = StableDiffusionAdapterPipeline(**components, adapter=adapter, requires_safety_checker=False)
    shown = (lambda f: PICTURES["lineart"][[f], :1]) if "in_channels" in settings else of("normal")
    expected = theirs(pipeline, shown, adapter_conditioning_scale=0.6)
    kind = "lineart" if "in_channels" in settings else "normal"
    assert_equal(ours(components, adapter, [Control(kind, scale=0.6)]), expected, plain)


def test_several_t2i_adapters(plain_sd):
    adapters = [tiny_adapter(SD_UNET), tiny_adapter(SD_UNET, seed=12)]
    pipeline = StableDiffusionAdapterPipeline(
        **SD, adapter=MultiAdapter(adapters), requires_safety_checker=False
    )
    expected = theirs(pipeline, of("depth", "normal"), adapter_conditioning_scale=[0.6, 0.3])
    controls = [Control("depth", scale=0.6), Control("normal", scale=0.3)]
    assert_equal(ours(SD, MultiControlNetModel(adapters), controls), expected, plain_sd)


@pytest.mark.parametrize("end", [1.0, 0.5])
def test_t2i_adapters_of_sdxl(plain_xl, end):
    adapter = tiny_adapter(XL_UNET, adapter_type="full_adapter_xl", downscale_factor=16)
    pipeline = StableDiffusionXLAdapterPipeline(**XL, adapter=adapter)
    expected = theirs(pipeline, of("depth"), adapter_conditioning_scale=0.6, adapter_conditioning_factor=end)
    assert_equal(ours(XL, adapter, [Control(scale=0.6, end=end)]), expected, plain_xl)


def test_controlnets_beside_t2i_adapters():
    """What each adds goes to another place in the UNet."""
    adapter, controls = tiny_adapter(SD_UNET), [Control("depth"), Control("normal", scale=0.5)]
    both = ours(SD, MultiControlNetModel([FIRST, adapter]), controls, n_steps=1)
    controlnet, alone = ours(SD, FIRST, controls[:1], n_steps=1), ours(SD, adapter, controls[1:], n_steps=1)
    assert (both - controlnet).abs().max() > 1e-2
    assert (both - alone).abs().max() > 1e-2
    # The UNet itself with both, as diffusers' users would call it.
    silent = ours(
        SD, MultiControlNetModel([FIRST, adapter]), [controls[0], Control("normal", scale=0.0)], n_steps=1
    )
    torch.testing.assert_close(silent, controlnet, atol=0, rtol=0)


@pytest.mark.parametrize("guess_mode", [False, True])
def test_several_controlnets_of_sdxl(plain_xl, guess_mode):
    held = MultiControlNetModel([tiny_controlnet(XL_UNET), other_controlnet(XL_UNET)])
    controls = [Control("depth", scale=0.8, end=0.6), Control("segmentation", scale=0.5, start=0.25)]
    expected = theirs(
        StableDiffusionXLControlNetPipeline(**XL, controlnet=held, add_watermarker=False),
        of("depth", "segmentation"),
        controlnet_conditioning_scale=[0.8, 0.5],
        control_guidance_start=[0.0, 0.25],
        control_guidance_end=[0.6, 1.0],
        guess_mode=guess_mode,
    )
    assert_equal(ours(XL, held, controls, guess_mode=guess_mode), expected, plain_xl)


UNION = {
    "one": [Control("normal", scale=0.7)],
    "one, for a while": [Control("depth", scale=0.7, start=0.25, end=0.75)],
    "three": [Control("depth", scale=0.7), Control("lineart", scale=0.4, end=0.5), Control("segmentation")],
    "two that end": [Control("depth", end=0.5), Control("normal", end=0.5)],
}


@pytest.mark.parametrize("guess_mode", [False, True])
@pytest.mark.parametrize("name", UNION)
def test_a_union_of_controlnets(plain_xl, name, guess_mode):
    controls, union = UNION[name], tiny_union(XL_UNET)
    # diffusers' own union pipeline fails in guess mode under guidance.
    guidance_scale = 1.0 if guess_mode else 5.0
    expected = theirs(
        StableDiffusionXLControlNetUnionPipeline(**XL, controlnet=union, add_watermarker=False),
        lambda frame: [PICTURES[control.kind][[frame]] for control in controls],
        "control_image",
        control_mode=[UNION_MODES[control.kind] for control in controls],
        controlnet_conditioning_scale=[control.scale for control in controls],
        control_guidance_start=[control.start for control in controls],
        control_guidance_end=[control.end for control in controls],
        guess_mode=guess_mode,
        guidance_scale=guidance_scale,
    )
    result = ours(XL, union, controls, guidance_scale, guess_mode)
    assert_equal(result, expected, plain_xl)
    if guess_mode:
        assert (ours(XL, union, controls, guidance_scale) - result).abs().max() > 1e-3


def test_several_unions(plain_xl):
    held = MultiControlNetUnionModel([tiny_union(XL_UNET), tiny_union(XL_UNET, seed=13)])
    expected = theirs(
        StableDiffusionXLControlNetUnionPipeline(**XL, controlnet=held, add_watermarker=False),
        of("depth", "normal"),
        "control_image",
        control_mode=[1, 4],
        controlnet_conditioning_scale=[0.8, 0.5],
        control_guidance_end=[0.5, 1.0],
    )
    controls = [Control("depth", scale=0.8, end=0.5), Control("normal", scale=0.5)]
    assert_equal(ours(XL, held, controls), expected, plain_xl)


def test_a_union_beside_a_controlnet_and_an_adapter():
    union, adapter = (
        tiny_union(XL_UNET),
        tiny_adapter(XL_UNET, adapter_type="full_adapter_xl", downscale_factor=16),
    )
    held = MultiControlNetModel([union, tiny_controlnet(XL_UNET), union, adapter])
    controls = [Control("depth"), Control("depth"), Control("normal"), Control("lineart")]
    everything = ours(XL, held, controls, n_steps=1)
    for index, control in enumerate(controls):
        weaker = [*controls]
        weaker[index] = Control(control.kind, scale=0.2)
        assert (ours(XL, held, weaker, n_steps=1) - everything).abs().max() > 1e-4, control


def sampled(components: dict[str, Any], held: Any, method: MethodConfig, controls: list[Control]) -> Tensor:
    """A clip through the loop, with pictures of its own."""
    kind: Any = StableDiffusionXLControlNetPipeline if components is XL else StableDiffusionControlNetPipeline
    pipeline = kind(**components, controlnet=FIRST)
    pipeline.register_modules(controlnet=held)
    backbone = backbone_of(pipeline)
    clip = [replace(gbuffer, lens=Lens(0.4)) for gbuffer in sliding_card(N_FRAMES, HEIGHT, WIDTH)]
    surface = ClipSurface(clip, backbone.vae_factor, method, 0, backbone.device)
    conditions = Conditions(PROMPT, guidance_scale=5.0, controls=tuple(controls))
    sampling = SamplingConfig(2, chunk_size=2, latents=unit_latents())
    return sample(backbone, conditions, surface, method, sampling)[range(N_FRAMES)]


@pytest.mark.parametrize("family", ["SD", "SDXL"])
def test_with_injections_on_every_network_steers(family):
    components, unet = (SD, SD_UNET) if family == "SD" else (XL, XL_UNET)
    xl_adapter = {"adapter_type": "full_adapter_xl", "downscale_factor": 16}
    adapter = tiny_adapter(unet, **({} if family == "SD" else xl_adapter))
    first = tiny_controlnet(unet) if family == "SD" else tiny_union(unet)
    held = MultiControlNetModel([first, adapter])
    controls = [Control("normal", scale=0.8), Control("lineart", scale=0.8)]
    full = MethodConfig(injection=InjectionConfig(alpha=0.5, n_keyframes=2))
    result = sampled(components, held, full, controls)
    assert result.isfinite().all()
    assert (result - sampled(components, held, PER_FRAME, controls)).abs().max() > 1e-2
    for index in (0, 1):
        silent = [*controls]
        silent[index] = replace(controls[index], scale=0.0)
        assert (result - sampled(components, held, full, silent)).abs().max() > 1e-3


REFUSED = {
    "2 control networks": (lambda: MultiControlNetModel([FIRST, SECOND]), [Control()]),
    "only depth and lineart can be shown as one channel": (
        lambda: other_controlnet(SD_UNET, conditioning_channels=1),
        [Control("normal")],
    ),
    "sees pictures of 6 channels, and depth cannot": (
        lambda: other_controlnet(SD_UNET, conditioning_channels=6),
        [Control()],
    ),
    "order bgr, which cannot be told apart": (
        lambda: other_controlnet(
            SD_UNET, conditioning_channels=6, controlnet_conditioning_channel_order="bgr"
        ),
        [Control(), Control("normal")],
    ),
    "give them one scale, start and end": (
        lambda: other_controlnet(SD_UNET, conditioning_channels=6),
        [Control(), Control("normal", scale=0.5)],
    ),
    "expected each kind of picture once": (
        lambda: tiny_union(SD_UNET, addition_time_embed_dim=8),
        [Control()] * 2,
    ),
    "knows 4 kinds of pictures and not segmentation": (
        lambda: tiny_union(SD_UNET, addition_time_embed_dim=8, num_control_type=4),
        [Control("segmentation")],
    ),
    "expected 0 <= start < end <= 1": (lambda: FIRST, [Control(start=0.5, end=0.5)]),
    "multiples of 32, these are 64x48": (lambda: tiny_adapter(SD_UNET, downscale_factor=32), [Control()]),
    "cannot steer, expected a ControlNetModel": (lambda: tiny_unet(), [Control()]),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_a_network_cannot_be_shown_is_refused_by_name(message):
    held, controls = REFUSED[message]
    with pytest.raises(ConfigError, match=message):
        ours(SD, held(), controls)


def test_t2i_adapters_beside_motion_modules_are_refused():
    pipeline = motion_pipeline()
    pipeline.register_modules(controlnet=tiny_adapter(tiny_unet()))
    with pytest.raises(ConfigError, match="motion modules take no T2I-Adapters"):
        backbone_of(pipeline).conditioned(Conditions("a fox"), lambda *_: torch.zeros(1, 6, 8), (6, 8))


def test_no_network_and_no_control_is_no_fault(plain_sd):
    torch.testing.assert_close(ours(SD, None, []), plain_sd, atol=0, rtol=0)


def test_offloading_is_told_when_networks_of_a_holder_are_asked():
    told = []

    class Hook:
        def pre_forward(self, module: Any) -> None:
            told.append(module)

    held = MultiControlNetModel([FIRST, SECOND])
    held._hf_hook = Hook()
    ours(SD, held, [Control(), Control("normal")], n_steps=2)
    assert told == [held, held]


def test_control_pictures_are_encoded_once_for_both_branches(monkeypatch):
    rows = []
    own = type(FIRST.controlnet_cond_embedding).forward
    monkeypatch.setattr(
        type(FIRST.controlnet_cond_embedding),
        "forward",
        lambda self, pictures: rows.append(len(pictures)) or own(self, pictures),
    )
    ours(SD, FIRST, [Control()], n_steps=1)
    assert rows == [N_FRAMES]

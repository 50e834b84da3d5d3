"""Surface Injection beside the patch of ComfyUI_IPAdapter_plus, whose folder the environment names."""

import asyncio
import importlib
import os
from typing import Any

import engine
import pytest
import torch
from families import N_FRAMES, Family, injected, sampled
from tiny_checkpoints import TEXT_WIDTH

IMAGE_WIDTH, N_TOKENS = 8, 4
# Of an adapter's tokens; their nodes tell SDXL by its width. What they say does not depend on the UNet's own.
WIDTHS = {"sd15": TEXT_WIDTH, "sdxl": 2048}
# Where their nodes look for cross-attention, in the order of an adapter's layers: blocks, and layers in each.
PLACES = {
    "sd15": [
        *(("input", block, 1) for block in (1, 2, 4, 5, 7, 8)),
        *(("output", block, 1) for block in range(3, 12)),
        ("middle", 1, 1),
    ],
    "sdxl": [
        *(("input", block, n_layers) for block, n_layers in ((4, 2), (5, 2), (7, 10), (8, 10))),
        *(("output", block, 10 if block < 3 else 2) for block in range(6)),
        ("middle", 1, 10),
    ],
}


@pytest.fixture(scope="module", autouse=True)
def their_nodes() -> None:
    nodes = importlib.import_module("nodes")  # of ComfyUI
    assert asyncio.run(nodes.load_custom_node(os.environ["GENRENDER_IPADAPTER_PLUS"]))


def tiny_adapter(family: Family) -> dict[str, dict[str, torch.Tensor]]:
    """A plain IP-Adapter with random weights, in the layout of the published files."""
    unet, torch_state = family.model.get_model_object("diffusion_model"), torch.random.get_rng_state()
    torch.manual_seed(7)
    sides = {"input": unet.input_blocks, "output": unet.output_blocks, "middle": [unet.middle_block]}
    tokens, layers, number = WIDTHS[family.name], {}, 0
    for side, block, n_layers in PLACES[family.name]:
        blocks = sides[side]
        found = blocks[min(block, len(blocks) - 1) if side != "middle" else 0].named_modules()
        widths = [part.to_k.out_features for name, part in found if name.endswith("attn2")]
        width = widths[0] if widths else 1  # layers that the small network does not have
        for _ in range(n_layers):
            for name in ("to_k_ip", "to_v_ip"):
                layers[f"{2 * number + 1}.{name}.weight"] = (TEXT_WIDTH / tokens) ** 0.5 * torch.randn(
                    width, tokens
                )
            number += 1
    projection = {
        "proj.weight": torch.randn(N_TOKENS * tokens, IMAGE_WIDTH),
        "proj.bias": torch.zeros(N_TOKENS * tokens),
        "norm.weight": torch.ones(tokens),
        "norm.bias": torch.zeros(tokens),
    }
    torch.random.set_rng_state(torch_state)
    return {"image_proj": projection, "ip_adapter": layers}


def prompted(family: Family, model: Any, pictures: torch.Tensor, weight: Any) -> Any:
    """A model after their node: one picture for all frames, or one for each."""
    return engine.call(
        "IPAdapterEmbedsBatch" if len(pictures) > 1 else "IPAdapterEmbeds",
        model=model,
        ipadapter=tiny_adapter(family),
        pos_embed=pictures,
        neg_embed=torch.zeros_like(pictures),
        weight=weight,
        weight_type="linear",
        start_at=0.0,
        end_at=1.0,
        embeds_scaling="V only",
    )[0]


def embeds(n_pictures: int) -> torch.Tensor:
    return torch.randn(n_pictures, 1, IMAGE_WIDTH, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("n_pictures", "weight"),
    [(1, 0.8), (N_FRAMES, 0.8), (N_FRAMES, [0.2 * frame for frame in range(N_FRAMES)])],
    ids=["a picture", "a picture a frame", "a picture and a weight a frame"],
)
def test_both_orders_and_chunks_of_any_size_are_alike(
    family: Family, clip_and_depth: Any, n_pictures: int, weight: Any
) -> None:
    (clip, _), pictures = clip_and_depth, embeds(n_pictures)
    before = sampled(family, injected(prompted(family, family.model, pictures, weight), clip), clip)
    after = sampled(family, prompted(family, injected(family.model, clip), pictures, weight), clip)
    assert torch.equal(before, after)
    without = sampled(family, injected(family.model, clip), clip)
    assert (before - without).abs().max() > 0.05
    single = sampled(family, injected(prompted(family, family.model, pictures, weight), clip, chunk=1), clip)
    assert torch.allclose(before, single, atol=1e-3)


def test_each_frame_gets_its_own_picture(family: Family, clip_and_depth: Any) -> None:
    """Without anything that joins frames, another picture for one changes that one."""
    clip, _ = clip_and_depth
    apart = {
        "settings": "injection.pre_attn=false\nlatents.normalise=none",
        "alpha": 0.0,
        "synchronise": 1e-9,
    }
    pictures = embeds(N_FRAMES)
    changed = pictures.clone()
    changed[3] += 1
    first, second = (
        sampled(family, injected(prompted(family, family.model, given, 0.8), clip, **apart), clip)
        for given in (pictures, changed)
    )
    moved = (first - second).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert moved.tolist() == [frame == 3 for frame in range(N_FRAMES)]

"""LoRAs of every kind, by their formulas on the weights, and in frames as diffusers makes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import (
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    get_peft_model_state_dict,
    inject_adapter_in_model,
)
from pipelines import HEIGHT, PROMPT, WIDTH
from safetensors.torch import save_file
from tiny_adapters import (
    ALPHA,
    CONVOLUTION,
    CROSS,
    FEED_FORWARD,
    LINEAR,
    PROJECTION,
    RANK,
    SCALE,
    TEXT_LAYERS,
    UNET_LAYERS,
    add_lora,
    dora,
    dora_of_inputs,
    kohya_names,
    layer_of,
    loha,
    loha_with_core,
    lokr,
    lora,
    lora_with_core,
    made,
    save_kohya,
    whole_lokr,
)
from tiny_models import sliding_card, tiny_pipeline
from tiny_sdxl import sdxl_pipeline

from genrender.backbones import adapters
from genrender.backbones.layer_names import LayerNames, self_attention_name, stabilitys_name
from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Lora, Recipe
from genrender.config import PER_FRAME
from genrender.errors import ModelError

CLIP = sliding_card(2, HEIGHT, WIDTH)
NAMES = kohya_names(UNET_LAYERS, ["lora_te"])


def with_loras(pipe, *loras: tuple[Path, float], **recipe):
    adapters.apply(pipe, adapters.read(Recipe(loras=tuple(Lora(str(p), w) for p, w in loras), **recipe)))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def frames(pipe) -> np.ndarray:
    return pipe(PROMPT, CLIP, config=PER_FRAME, num_inference_steps=2, seed=1).frames


def by_hand(kind, weight: torch.Tensor, parts, s: float) -> torch.Tensor:
    """The formulas, layer by layer, with loops or matrices as they stand in the papers."""
    shape = weight.shape
    flat = lambda name: parts[name].flatten(1)  # noqa: E731
    if kind in (lora, dora, dora_of_inputs) or (kind is lora_with_core and "lora_mid.weight" not in parts):
        change = SCALE * (flat("lora_up.weight") @ flat("lora_down.weight")).view(shape)
    elif kind is lora_with_core:  # the three convolutions in a row, seen on single pixels
        probe = torch.eye(shape[1])[:, :, None, None] * 1.0
        kernel = torch.nn.functional.conv2d(probe, parts["lora_down.weight"])
        core = torch.einsum("isab,rsxy->irxy", kernel, parts["lora_mid.weight"])
        change = SCALE * torch.einsum("irxy,or->oixy", core, flat("lora_up.weight"))
    elif kind is loha or (kind is loha_with_core and "hada_t1" not in parts):
        products = [parts[f"hada_w{n}_a"] @ parts[f"hada_w{n}_b"] for n in (1, 2)]
        change = SCALE * (products[0] * products[1]).view(shape)
    elif kind is loha_with_core:
        products = []
        for n in (1, 2):  # pixel by pixel of the kernel
            pixels = parts[f"hada_t{n}"].flatten(2).unbind(2)
            outer, inner = parts[f"hada_w{n}_a"].T, parts[f"hada_w{n}_b"]
            products.append(torch.stack([outer @ pixel @ inner for pixel in pixels], -1).view(shape))
        change = SCALE * products[0] * products[1]
    else:
        right = parts["lokr_w2"] if kind is whole_lokr else parts["lokr_w2_a"] @ parts["lokr_w2_b"]
        right = right.reshape(shape[0] // 2, shape[1] // 2, -1)
        rows = [torch.cat([parts["lokr_w1"][i, j] * right for j in range(2)], 1) for i in range(2)]
        change = (1.0 if kind is whole_lokr else SCALE) * torch.cat(rows, 0).view(shape)
    if kind not in (dora, dora_of_inputs):
        return weight + s * change
    directed = (weight + change).flatten(2) if weight.dim() > 2 else (weight + change)[..., None]
    norm = (directed**2).sum((1, 2) if kind is dora else (0, 2)).sqrt()
    magnitude = parts["dora_scale"].flatten() / norm
    sides = [-1, 1] if kind is dora else [1, -1]
    scaled = (weight + change) * magnitude.view(*sides, *[1] * (weight.dim() - 2))
    return (1 - s) * weight + s * scaled


MERGED = [dora, dora_of_inputs, loha, loha_with_core, lokr, whole_lokr, lora_with_core]


@pytest.mark.parametrize("strength", [1.0, 0.4])
@pytest.mark.parametrize("kind", MERGED, ids=lambda kind: kind.__name__)
def test_weights_are_changed_by_the_formula(tmp_path, kind, strength):
    pipe = tiny_pipeline()
    adapter = made(pipe, NAMES, kind)
    before = {name: layer_of(pipe, *where).weight.detach().clone() for name, where in NAMES.items()}
    with_loras(pipe, (save_kohya(tmp_path / "a.safetensors", adapter), strength))
    for name, where in NAMES.items():
        expected = by_hand(kind, before[name], adapter[name], strength)
        torch.testing.assert_close(layer_of(pipe, *where).weight, expected, atol=1e-5, rtol=1e-5)
        assert (expected - before[name]).abs().max() > 0.1


@pytest.mark.parametrize("kind", [loha, lokr])
def test_peft_makes_the_same_change(kind):
    """Another implementation, on one layer: rank, alpha and the factors by the same names."""
    layer = torch.nn.Linear(8, 12, bias=False)
    parts = kind(layer.weight)
    before = layer.weight.detach().clone()
    model = torch.nn.Sequential(layer)
    # peft's LoKr has factors of its own making unless it is told: the largest ones.
    if kind is loha:
        config = LoHaConfig(r=RANK, alpha=ALPHA, target_modules=["0"])
        model = inject_adapter_in_model(config, model)
        for n in (1, 2):
            for side in "ab":
                getattr(model[0], f"hada_w{n}_{side}")["default"].data = parts[f"hada_w{n}_{side}"]
    else:
        config = LoKrConfig(r=RANK, alpha=ALPHA, target_modules=["0"], decompose_factor=2)
        model = inject_adapter_in_model(config, model)
        model[0].lokr_w1["default"].data = parts["lokr_w1"]
        for name in ("lokr_w2_a", "lokr_w2_b"):
            assert getattr(model[0], name)["default"].shape == parts[name].shape
            getattr(model[0], name)["default"].data = parts[name]
    expected = before + model[0].get_delta_weight("default")
    torch.testing.assert_close(by_hand(kind, before, parts, 1.0), expected, atol=1e-5, rtol=1e-5)


def diffusers_layout(path: Path, with_facts: bool, use_dora: bool = False) -> Path:
    """What diffusers itself writes after training; what alpha was is told beside the tensors, if at all."""
    pipe, layers, facts = tiny_pipeline(), {}, {}
    for network, targets in (("unet", [LINEAR, CROSS]), ("text_encoder", ["q_proj", "out_proj", "fc2"])):
        part, alpha = getattr(pipe, network), 8.0 if with_facts else float(RANK)
        config = LoraConfig(r=RANK, lora_alpha=alpha, target_modules=targets, use_dora=use_dora)
        add_lora(part, config)
        for name, parameter in part.named_parameters():
            if "lora_" in name:
                parameter.data = torch.rand_like(parameter) + (0.5 if "magnitude" in name else 0.0)
        layers[f"{network}_lora_layers"] = get_peft_model_state_dict(
            part,
            save_embedding_layers=False,  # PEFT asks a hub for the vocabulary otherwise
        )
        facts[f"{network}_lora_adapter_metadata"] = config.to_dict() | {"target_modules": targets}
    pipe.save_lora_weights(path.parent, **layers, **(facts if with_facts else {}), weight_name=path.name)
    return path


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    pipe = tiny_pipeline()
    return {
        "kohya": save_kohya(tmp_path / "kohya.safetensors", made(pipe, NAMES, lora)),
        "unet only": save_kohya(
            tmp_path / "unet.safetensors", made(pipe, kohya_names(UNET_LAYERS, []), lora)
        ),
        "diffusers": diffusers_layout(tmp_path / "diffusers.safetensors", with_facts=False),
        "with facts": diffusers_layout(tmp_path / "facts.safetensors", with_facts=True),
        "DoRA": diffusers_layout(tmp_path / "dora.safetensors", with_facts=True, use_dora=True),
        "old DoRA": diffusers_layout(tmp_path / "old.safetensors", with_facts=False, use_dora=True),
        "loha": save_kohya(tmp_path / "loha.safetensors", made(pipe, NAMES, loha)),
    }


@pytest.mark.parametrize("name", ["unet only", "diffusers", "with facts", "DoRA", "old DoRA"])
def test_frames_are_those_of_diffusers_own_loader(files, name):
    """But for kohya's names of text encoders, which diffusers loses with some versions of transformers."""
    expected = tiny_pipeline()
    expected.load_lora_weights(str(files[name].parent), weight_name=files[name].name, adapter_name="a")
    expected.set_adapters(["a"], [0.1])
    found = frames(with_loras(tiny_pipeline(), (files[name], 0.1)))
    np.testing.assert_allclose(found, frames(expected), atol=1e-5)
    assert np.abs(found - frames(tiny_pipeline())).max() > 1e-3


def test_a_plain_lora_computes_what_its_formula_says(files):
    pipe, adapter = tiny_pipeline(), made(tiny_pipeline(), NAMES, lora)
    path = save_kohya(files["kohya"].parent / "again.safetensors", adapter)
    with torch.no_grad():
        for name, where in NAMES.items():
            layer_of(pipe, *where).weight.copy_(
                by_hand(lora, layer_of(pipe, *where).weight, adapter[name], 0.1)
            )
    np.testing.assert_allclose(frames(with_loras(tiny_pipeline(), (path, 0.1))), frames(pipe), atol=1e-4)


def test_several_loras_add_up_in_any_order_and_fusing_changes_nothing(files):
    pairs = [(files["kohya"], 0.1), (files["loha"], 0.02), (files["diffusers"], -0.1)]
    together = with_loras(tiny_pipeline(), *pairs)
    found = frames(together)
    np.testing.assert_allclose(found, frames(with_loras(tiny_pipeline(), *pairs[::-1])), atol=1e-4)
    for pair in pairs:
        others = [other for other in pairs if other != pair]
        assert np.abs(found - frames(with_loras(tiny_pipeline(), *others))).max() > 1e-3
    together.fuse_lora()
    np.testing.assert_allclose(frames(together), found, atol=1e-4)


@pytest.mark.parametrize("name", ["kohya", "diffusers", "loha"])
def test_weights_matter_and_none_is_no_lora(files, name):
    plain = frames(tiny_pipeline())
    assert np.array_equal(frames(with_loras(tiny_pipeline(), (files[name], 0.0))), plain)
    weak, strong = (frames(with_loras(tiny_pipeline(), (files[name], weight))) for weight in (0.02, 0.1))
    assert np.abs(weak - strong).max() > 1e-3


def test_folders_hold_one_lora_or_the_one_of_the_usual_name(files, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    expected = frames(with_loras(tiny_pipeline(), (files["kohya"], 0.1)))
    files["kohya"].rename(folder / "some.safetensors")
    assert np.array_equal(frames(with_loras(tiny_pipeline(), (folder, 0.1))), expected)
    files["loha"].rename(folder / "other.safetensors")
    with pytest.raises(ModelError, match=r"its files are other\.safetensors, some\.saf.* expected one"):
        with_loras(tiny_pipeline(), (folder, 0.1))
    (folder / "some.safetensors").rename(folder / "pytorch_lora_weights.safetensors")
    assert np.array_equal(frames(with_loras(tiny_pipeline(), (folder, 0.1))), expected)


def test_pickles_are_read_only_when_they_are_allowed(tmp_path):
    adapter = made(tiny_pipeline(), NAMES, lora)
    tensors = {
        f"{layer}.{part}": tensor for layer, parts in adapter.items() for part, tensor in parts.items()
    }
    torch.save(tensors, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"LoRA .*a\.pt: it lies in a pickle, .* --allow-pickle"):
        with_loras(tiny_pipeline(), (tmp_path / "a.pt", 0.1))
    found = frames(with_loras(tiny_pipeline(), (tmp_path / "a.pt", 0.1), allow_pickle=True))
    expected = frames(with_loras(tiny_pipeline(), (save_kohya(tmp_path / "a.safetensors", adapter), 0.1)))
    assert np.array_equal(found, expected)


SDXL_UNET = (
    "down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q",
    "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k",
    "mid_block.attentions.0.transformer_blocks.0.ff.net.2",
    "down_blocks.1.attentions.0.proj_in",
)


@pytest.mark.parametrize("kind", [lora, dora, loha, lokr], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("by_stability", [True, False])
def test_sdxl_and_its_two_text_encoders(tmp_path, kind, by_stability):
    pipe = sdxl_pipeline()
    names = kohya_names(SDXL_UNET, ["lora_te1", "lora_te2"])
    adapter = made(pipe, names, kind)
    called = {name: name for name in names}
    if by_stability:
        for name, (network, layer) in names.items():
            if network == "unet":
                called[name] = f"lora_unet_{stabilitys_name(layer, 1)}"
                assert called[name] != name
    path = save_kohya(tmp_path / "xl.safetensors", {called[name]: parts for name, parts in adapter.items()})
    before = {name: layer_of(pipe, *where).weight.detach().clone() for name, where in names.items()}
    with_loras(pipe, (path, 0.7))
    for name, where in names.items():
        layer, expected = layer_of(pipe, *where), by_hand(kind, before[name], adapter[name], 0.7)
        if kind is lora:  # beside the layer: what it computes is what the merged weight would
            rows = torch.randn(3, expected.shape[1])
            bias = layer.base_layer.bias
            torch.testing.assert_close(
                layer(rows), torch.nn.functional.linear(rows, expected, bias), atol=1e-4, rtol=1e-4
            )
        else:
            torch.testing.assert_close(layer.weight, expected, atol=1e-5, rtol=1e-5)


def test_stabilitys_names_are_those_of_sdxl():
    """As in the published files."""
    assert stabilitys_name("conv_in", 2) == "input_blocks_0_0"
    assert stabilitys_name("down_blocks.0.resnets.1.conv2", 2) == "input_blocks_2_0_out_layers_3"
    assert stabilitys_name("down_blocks.0.downsamplers.0.conv", 2) == "input_blocks_3_0_op"
    assert stabilitys_name("down_blocks.2.attentions.1.proj_out", 2) == "input_blocks_8_1_proj_out"
    assert stabilitys_name("mid_block.resnets.1.conv1", 2) == "middle_block_2_in_layers_2"
    assert stabilitys_name("mid_block.attentions.0.norm", 2) == "middle_block_1_norm"
    assert stabilitys_name("up_blocks.0.resnets.2.conv_shortcut", 2) == "output_blocks_2_0_skip_connection"
    assert stabilitys_name("up_blocks.0.upsamplers.0.conv", 2) == "output_blocks_2_2_conv"
    assert stabilitys_name("up_blocks.1.attentions.2.proj_in", 2) == "output_blocks_5_1_proj_in"
    assert stabilitys_name("time_embedding.linear_2", 2) == "time_embed_2"
    assert stabilitys_name("add_embedding.linear_1", 2) == "label_emb_0_0"


@pytest.mark.parametrize("n_layers", [1, 2])
def test_counted_self_attention_layers_have_diffusers_names(n_layers):
    levels = (n_layers,) * 3
    for side, n_blocks in (("input", 3 * (n_layers + 1)), ("middle", 1), ("output", 3 * (n_layers + 1))):
        for number in range(side == "input", n_blocks):
            if side == "input" and number % (n_layers + 1) == 0:
                continue  # these make the maps smaller
            name = self_attention_name(side, number, 1, levels)
            block = "middle_block_1" if side == "middle" else f"{side}_blocks_{number}_1"
            assert stabilitys_name(name, n_layers) == f"{block}_transformer_blocks_1_attn1"


def test_every_layer_of_a_model_is_found_by_every_name():
    names = LayerNames(tiny_pipeline())
    for layer in (LINEAR, CROSS, FEED_FORWARD, PROJECTION, CONVOLUTION):
        found = names.get(f"unet.{layer}")
        assert found is names.get(f"lora_unet_{layer.replace('.', '_')}") is not None
    assert names.get("lora_te_text_model_" + TEXT_LAYERS[0].replace(".", "_")) is not None
    assert names.get("lora_te2_text_model_" + TEXT_LAYERS[0].replace(".", "_")) is None


@pytest.mark.parametrize("kind", [lora, dora, loha, lokr], ids=lambda kind: kind.__name__)
def test_one_for_another_kind_of_model_is_refused_and_changes_nothing(tmp_path, kind):
    xl = sdxl_pipeline()
    adapter = made(xl, kohya_names(SDXL_UNET, ["lora_te1", "lora_te2"]), kind)
    path, pipe = save_kohya(tmp_path / "xl.safetensors", adapter), tiny_pipeline()
    before = frames(pipe)
    good = save_kohya(tmp_path / "good.safetensors", made(pipe, NAMES, loha))
    with pytest.raises(ModelError, match=r"xl\.safetensors: \d of its 8 layers fit none .* another kind"):
        with_loras(pipe, (good, 1.0), (path, 1.0))
    assert np.array_equal(frames(pipe), before)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("lora_unet_x.oft_blocks", "of the kind OFT, expected LoRA, DoRA, LoHa or LoKr"),
        ("lora_unet_x.diff", "of the kind full weights"),
        ("lora_unet_x.on_input", "of the kind IA3"),
        (
            "model.diffusion_model.conv_in.weight",
            r"it holds model\.diffusion_model\.conv_in\.weight, expected a LoRA",
        ),
        ("lora_unet_x.alpha", "it holds no adapter of any layer"),
    ],
)
def test_other_kinds_are_refused_by_name_before_anything_is_loaded(tmp_path, part, message):
    save_file({part: torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=message):
        adapters.read(Recipe(loras=(Lora(str(tmp_path / "a.safetensors")),)))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.safetensors", "there is none, expected a file, a folder or a hub id"),
        ("/no/where", "there is none"),
    ],
)
def test_a_lora_that_is_not_there_is_told(source, message):
    with pytest.raises(ModelError, match=message):
        adapters.read(Recipe(loras=(Lora(source),)))


def test_magnitudes_of_another_layer_are_refused_before_anything_is_changed(tmp_path):
    pipe, good = tiny_pipeline(), made(tiny_pipeline(), NAMES, dora)
    before = {name: layer_of(pipe, *where).weight.detach().clone() for name, where in NAMES.items()}
    last = list(good)[-1]
    good[last] = {**good[last], "dora_scale": torch.ones(3, 1)}
    with pytest.raises(
        ModelError, match=rf"1 of its {len(NAMES)} layers fit none of this model, first {last}"
    ):
        with_loras(pipe, (save_kohya(tmp_path / "a.safetensors", good), 1.0))
    assert all(torch.equal(layer_of(pipe, *where).weight, before[name]) for name, where in NAMES.items())


@pytest.mark.parametrize("stored", [[1, 2], {1: torch.ones(2)}])
def test_a_pickle_without_names_is_told(tmp_path, stored):
    torch.save(stored, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"a\.pt: it holds no weights by name"):
        adapters.read(Recipe(loras=(Lora(str(tmp_path / "a.pt")),), allow_pickle=True))


def test_a_picture_is_no_pickle(tmp_path):
    (tmp_path / "a.png").write_bytes(b"png")
    with pytest.raises(ModelError, match=r"a\.png: it is no file of weights, expected a \.safetensors"):
        adapters.read(Recipe(loras=(Lora(str(tmp_path / "a.png")),)))


def test_a_damaged_file_is_told_in_one_line(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"\x01" * 30)
    with pytest.raises(ModelError, match=r"a\.safetensors: cannot be read") as caught:
        adapters.read(Recipe(loras=(Lora(str(tmp_path / "a.safetensors")),)))
    assert "\n" not in str(caught.value)


def test_a_recipe_brings_its_loras_into_the_networks(saved, files):
    model, asked = (
        str(saved["with_controlnet"]),
        (Lora(str(files["kohya"]), 0.1), Lora(str(files["loha"]), 0.02)),
    )
    loaded = load_networks(Recipe(model, loras=asked, precision="float32", device="cpu"))
    expected = with_loras(tiny_pipeline(), (files["kohya"], 0.1), (files["loha"], 0.02))
    assert loaded.unet.peft_config.keys() == {"lora_0"}
    for network in ("unet", "text_encoder"):
        found, wanted = getattr(loaded, network).state_dict(), getattr(expected, network).state_dict()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in found)

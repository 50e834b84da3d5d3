"""Models of a hub that this machine serves: what is fetched, what is said, and what needs no network."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pretend_hub import COMMIT, pretend_hub
from tiny_adapters import (
    IMAGE_WIDTH,
    UNET_LAYERS,
    kohya_names,
    lora,
    made,
    save_ip_adapter,
    save_kohya,
    tiny_image_encoder,
)
from tiny_models import tiny_components, tiny_pipeline
from tiny_sources import save_sd

LOAD = """
import json, sys
from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Control, Recipe
from genrender.errors import ModelError
asked = json.loads(sys.argv[1])
controls = tuple(Control(source=source) for source in asked.pop("controls", ()))
try:
    networks = load_networks(Recipe(device="cpu", precision="float32", controls=controls, **asked))
    print(json.dumps({"conv": networks.unet.conv_in.weight.sum().item(), "name": networks.name_or_path}))
except ModelError as error:
    print(json.dumps({"error": str(error)}))
"""
ADD = """
import json, sys
from genrender.backbones import adapters
from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Control, ImagePrompt, Lora, Recipe
from genrender.errors import ModelError
base, kind, source = sys.argv[1:]
kinds = {
    "lora": {"loras": (Lora(source),)},
    "ip-adapter": {"image_prompts": (ImagePrompt(source),)},
    "motion-adapter": {"motion_adapter": source},
    "vae": {"vae": source},
    "controlnet": {"controls": (Control(source=source),)},
}
try:
    networks = load_networks(Recipe(base, device="cpu", precision="float32", **kinds[kind]))
    encoder = getattr(networks, "image_encoder", None)
    print(json.dumps({
        "vae": networks.vae.decoder.conv_in.weight.sum().item(),
        "encoder": encoder and sum(weight.sum().item() for weight in encoder.parameters()),
        "loras": list(getattr(networks.unet, "peft_config", ())),
    }))
except ModelError as error:
    print(json.dumps({"error": str(error)}))
"""
READ = """
import json, sys, time
from genrender.backbones.model_folder import read_family
from genrender.backbones.sources import find_model
from genrender.errors import ModelError
begun = time.monotonic()
try:
    print(json.dumps({"family": read_family(find_model(*sys.argv[1:])).name}))
except ModelError as error:
    print(json.dumps({"error": str(error), "seconds": time.monotonic() - begun}))
"""


@pytest.fixture
def machine(tmp_path):
    """Runs a script as on a machine with an empty cache and that hub."""

    def run(script: str, *words: str, endpoint: str):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": "1",
        }
        command = [sys.executable, "-c", script, *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Models with every kind of file: both precisions, pickles, a safety checker, words."""
    root = tmp_path_factory.mktemp("hub")
    model = save_sd(root / "somebody" / "model")
    save_sd(model, variant="fp16")
    (model / "controlnet").rename(root / "somebody" / "control")
    (model / "safety_checker").mkdir()
    for name in ("safety_checker/model.safetensors", "safety_checker/config.json", "big.ckpt"):
        (model / name).write_bytes(b"{}")
    (model / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"{}")
    return root


@pytest.fixture(scope="module")
def parts(root):
    """What is added to models, as files of a hub model, some of it for other models."""
    folder = root / "somebody" / "parts"
    pipe = tiny_pipeline()
    save_ip_adapter(folder / "models" / "ip.safetensors", pipe.unet)
    tiny_image_encoder().save_pretrained(folder / "models" / "image_encoder")
    save_ip_adapter(folder / "others" / "ip.safetensors", pipe.unet)
    tiny_image_encoder(2 * IMAGE_WIDTH).save_pretrained(folder / "others" / "image_encoder")
    save_kohya(folder / "ink.safetensors", made(pipe, kohya_names(UNET_LAYERS, ["lora_te"]), lora))
    (folder / "motion.ckpt").write_bytes(b"pickle")
    return folder


NOWHERE = "http://127.0.0.1:9"


def test_only_what_is_needed_is_fetched_and_then_no_network_is(machine, root):
    asked = {"base": "somebody/model", "controls": ["somebody/control"], "safety_checker": False}
    with pretend_hub(root) as hub:
        first = machine(LOAD, json.dumps(asked), endpoint=hub.address)
    assert first["conv"] == pytest.approx(tiny_components()["unet"].conv_in.weight.sum().item(), abs=0.02)
    weights = sorted(name for name in hub.asked if not name.endswith((".json", ".txt")))
    assert weights == [
        "control/diffusion_pytorch_model.fp16.safetensors",
        "model/text_encoder/model.fp16.safetensors",
        "model/unet/diffusion_pytorch_model.fp16.safetensors",
        "model/vae/diffusion_pytorch_model.fp16.safetensors",
    ]
    assert not any("safety" in name for name in hub.asked)
    assert machine(LOAD, json.dumps(asked), endpoint=NOWHERE) == first


def test_full_weights_are_fetched_where_they_are_asked_for(machine, root):
    asked = {"base": "somebody/model", "controls": ["somebody/control"], "variant": "full"}
    with pretend_hub(root) as hub:
        machine(LOAD, json.dumps(asked | {"safety_checker": False}), endpoint=hub.address)
    assert "model/unet/diffusion_pytorch_model.safetensors" in hub.asked
    assert "model/unet/diffusion_pytorch_model.fp16.safetensors" not in hub.asked


def test_other_weights_than_those_fetched_before_are_fetched(machine, root):
    asked = {"base": "somebody/model", "controls": ["somebody/control"], "safety_checker": False}
    with pretend_hub(root) as hub:
        machine(LOAD, json.dumps(asked), endpoint=hub.address)
        asked["variant"] = "full"
        assert "not on this machine" in machine(LOAD, json.dumps(asked), endpoint=NOWHERE)["error"]
        assert "conv" in machine(LOAD, json.dumps(asked), endpoint=hub.address)


@pytest.mark.usefixtures("parts")
def test_what_is_added_may_be_a_file_of_a_hub_model(machine, root, tmp_path):
    base = str(save_sd(tmp_path / "model"))
    encoder = sum(weight.sum().item() for weight in tiny_image_encoder().parameters())
    with pretend_hub(root) as hub:
        added = machine(ADD, base, "lora", "somebody/parts/ink.safetensors", endpoint=hub.address)
        assert added["loras"] == ["lora_0"]
        # Its image encoder is fetched with it, and no other.
        for name in ("models", "others"):
            added = machine(
                ADD, base, "ip-adapter", f"somebody/parts/{name}/ip.safetensors", endpoint=hub.address
            )
            assert added["encoder"] == pytest.approx(encoder)
        assert "parts/others/image_encoder/model.safetensors" not in hub.asked
        refused = machine(ADD, base, "motion-adapter", "somebody/parts/motion.ckpt", endpoint=hub.address)
        assert "its weights are a pickle (motion.ckpt)" in refused["error"]
        assert "parts/motion.ckpt" not in hub.asked
        refused = machine(ADD, base, "lora", "somebody/parts", endpoint=hub.address)
        assert (
            "no pytorch_lora_weights.safetensors of it (404): give the name of the file as"
            in refused["error"]
        )
    again = machine(ADD, base, "ip-adapter", "somebody/parts/models/ip.safetensors", endpoint=NOWHERE)
    assert again["encoder"] == pytest.approx(encoder)
    refused = machine(ADD, base, "lora", "somebody/parts/other.safetensors", endpoint=NOWHERE)
    assert "`hf download somebody/parts 'other.safetensors' --local-dir FOLDER`" in refused["error"]
    assert "give FOLDER/other.safetensors instead" in refused["error"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("somebody/gated", ["has accepted its licence", "hf auth login"]),
        ("somebody/private", ["no model of that name", "hf auth login"]),
        ("somebody/nothing", ["no model of that name", "check the name"]),
        ("somebody/forbidden", ["403", "Your token lacks the permission", "hf auth login"]),
        ("somebody/broken", ["404", "model_index.json"]),
    ],
)
def test_a_refusal_keeps_its_reason_in_one_line(machine, root, name, said):
    with pretend_hub(root) as hub:
        answer = machine(READ, name, endpoint=hub.address)
    assert "\n" not in answer["error"]
    assert answer["error"].startswith(f"model {name}: ")
    for text in said:
        assert text in answer["error"]


def test_a_revision(machine, root):
    with pretend_hub(root) as hub:
        assert machine(READ, "somebody/model", COMMIT, endpoint=hub.address) == {"family": "SD1"}
        answer = machine(READ, "somebody/model", "v9", endpoint=hub.address)
    assert "has no revision 'v9' of it" in answer["error"]


def test_a_hub_model_without_a_network_is_one_line_in_three_seconds(machine):
    answer = machine(READ, "somebody/model", "v2", endpoint=NOWHERE)
    assert answer["seconds"] < 3
    for text in (
        "model somebody/model: it is not on this machine",
        f"{NOWHERE} cannot be reached",
        "`hf download somebody/model --revision v2 --include",
        "'*.fp16.safetensors'",
        "--local-dir FOLDER`, and give FOLDER instead of the name",
    ):
        assert text in answer["error"]
    assert "\n" not in answer["error"]


def test_the_command_line_says_it_in_three_seconds_too(tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": NOWHERE, "HF_HOME": str(tmp_path)}
    scene = Path(__file__).parents[2] / "examples" / "scenes" / "walking_biped.glb"
    words = ["render", str(scene), "--prompt", "a fox", "--model", "sd15", "--run-dir", str(tmp_path / "run")]
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "genrender", *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "`hf download stable-diffusion-v1-5/stable-diffusion-v1-5 --revision " in said
    assert "--include '*.json'" in said
    assert time.monotonic() - begun < 20  # on a busy machine; the hub itself is given up after two
    assert not (tmp_path / "run").exists()

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

# What is asked of a machine: a function `answer` that takes words.
LOAD = """
from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Control, Recipe
def answer(words):
    asked = json.loads(words)
    controls = tuple(Control(source=source) for source in asked.pop("controls", ()))
    networks = load_networks(Recipe(device="cpu", precision="float32", controls=controls, **asked))
    return {"conv": networks.unet.conv_in.weight.sum().item(), "name": networks.name_or_path}
"""
ADD = """
from genrender.backbones import adapters
from genrender.backbones.loading import load_networks
from genrender.backbones.recipe import Control, ImagePrompt, Lora, Recipe
def answer(base, kind, source):
    kinds = {
        "lora": {"loras": (Lora(source),)},
        "ip-adapter": {"image_prompts": (ImagePrompt(source),)},
        "motion-adapter": {"motion_adapter": source},
        "vae": {"vae": source},
        "controlnet": {"controls": (Control(source=source),)},
    }
    networks = load_networks(Recipe(base, device="cpu", precision="float32", **kinds[kind]))
    encoder = getattr(networks, "image_encoder", None)
    return {
        "vae": networks.vae.decoder.conv_in.weight.sum().item(),
        "encoder": encoder and sum(weight.sum().item() for weight in encoder.parameters()),
        "loras": list(getattr(networks.unet, "peft_config", ())),
    }
"""
READ = """
from genrender.backbones.model_folder import read_family
from genrender.backbones.sources import find_model
def answer(*words):
    return {"family": read_family(find_model(*words)).name}
"""
ANSWERS = """
import sys, time
from genrender.errors import ModelError
for words in json.loads(sys.argv[1]):
    begun = time.monotonic()
    try:
        print(json.dumps(answer(*words)))
    except ModelError as error:
        print(json.dumps({"error": str(error), "seconds": time.monotonic() - begun}))
"""


@pytest.fixture
def machine(tmp_path):
    """Asks one process after the other on a machine whose cache is empty at first, and which has that hub."""

    def run(script: str, *asked: tuple[str, ...], endpoint: str):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": "1",
        }
        command = [sys.executable, "-c", f"import json\n{script}{ANSWERS}", json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

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
        [first] = machine(LOAD, (json.dumps(asked),), endpoint=hub.address)
    assert first["conv"] == pytest.approx(tiny_components()["unet"].conv_in.weight.sum().item(), abs=0.02)
    weights = sorted(name for name in hub.asked if not name.endswith((".json", ".txt")))
    assert weights == [
        "control/diffusion_pytorch_model.fp16.safetensors",
        "model/text_encoder/model.fp16.safetensors",
        "model/unet/diffusion_pytorch_model.fp16.safetensors",
        "model/vae/diffusion_pytorch_model.fp16.safetensors",
    ]
    assert not any("safety" in name for name in hub.asked)
    assert machine(LOAD, (json.dumps(asked),), endpoint=NOWHERE) == [first]


def test_full_weights_are_fetched_where_they_are_asked_for(machine, root):
    asked = {"base": "somebody/model", "controls": ["somebody/control"], "variant": "full"}
    with pretend_hub(root) as hub:
        machine(LOAD, (json.dumps(asked | {"safety_checker": False}),), endpoint=hub.address)
    assert "model/unet/diffusion_pytorch_model.safetensors" in hub.asked
    assert "model/unet/diffusion_pytorch_model.fp16.safetensors" not in hub.asked


def test_other_weights_than_those_fetched_before_are_fetched(machine, root):
    asked = {"base": "somebody/model", "controls": ["somebody/control"], "safety_checker": False}
    with pretend_hub(root) as hub:
        machine(LOAD, (json.dumps(asked),), endpoint=hub.address)
        full = (json.dumps(asked | {"variant": "full"}),)
        assert "not on this machine" in machine(LOAD, full, endpoint=NOWHERE)[0]["error"]
        assert "conv" in machine(LOAD, full, endpoint=hub.address)[0]


@pytest.mark.usefixtures("parts")
def test_what_is_added_may_be_a_file_of_a_hub_model(machine, root, tmp_path):
    base = str(save_sd(tmp_path / "model"))
    encoder = sum(weight.sum().item() for weight in tiny_image_encoder().parameters())
    place = "somebody/parts"
    with pretend_hub(root) as hub:
        lora_added, *adapters_added, is_pickle, is_nameless = machine(
            ADD,
            (base, "lora", f"{place}/ink.safetensors"),
            (base, "ip-adapter", f"{place}/models/ip.safetensors"),
            (base, "ip-adapter", f"{place}/others/ip.safetensors"),
            (base, "motion-adapter", f"{place}/motion.ckpt"),
            (base, "lora", place),
            endpoint=hub.address,
        )
        assert lora_added["loras"] == ["lora_0"]
        # Its image encoder is fetched with it, and no other.
        assert [added["encoder"] for added in adapters_added] == [pytest.approx(encoder)] * 2
        assert "parts/others/image_encoder/model.safetensors" not in hub.asked
        assert "its weights are a pickle (motion.ckpt)" in is_pickle["error"]
        assert "parts/motion.ckpt" not in hub.asked
        assert (
            "no pytorch_lora_weights.safetensors of it (404): give the name of the file as"
            in is_nameless["error"]
        )
    again, refused = machine(
        ADD,
        (base, "ip-adapter", f"{place}/models/ip.safetensors"),
        (base, "lora", f"{place}/other.safetensors"),
        endpoint=NOWHERE,
    )
    assert again["encoder"] == pytest.approx(encoder)
    assert "`hf download somebody/parts 'other.safetensors' --local-dir FOLDER`" in refused["error"]
    assert "give FOLDER/other.safetensors instead" in refused["error"]


def test_a_refusal_keeps_its_reason_in_one_line(machine, root):
    refusals = {
        "somebody/gated": ["has accepted its licence", "hf auth login"],
        "somebody/private": ["no model of that name", "hf auth login"],
        "somebody/nothing": ["no model of that name", "check the name"],
        "somebody/forbidden": ["403", "Your token lacks the permission", "hf auth login"],
        "somebody/broken": ["404", "model_index.json"],
    }
    with pretend_hub(root) as hub:
        answers = machine(READ, *((name,) for name in refusals), endpoint=hub.address)
    for (name, said), answer in zip(refusals.items(), answers, strict=True):
        assert "\n" not in answer["error"]
        assert answer["error"].startswith(f"model {name}: ")
        for text in said:
            assert text in answer["error"]


def test_a_revision(machine, root):
    with pretend_hub(root) as hub:
        found, answer = machine(
            READ, ("somebody/model", COMMIT), ("somebody/model", "v9"), endpoint=hub.address
        )
    assert found == {"family": "SD1"}
    assert "has no revision 'v9' of it" in answer["error"]


def test_a_hub_model_without_a_network_is_one_line_in_three_seconds(machine):
    [answer] = machine(READ, ("somebody/model", "v2"), endpoint=NOWHERE)
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

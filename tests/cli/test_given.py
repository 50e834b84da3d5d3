"""What a command line may say: absurd words are refused in one line, and nothing steers the terminal."""

import json
import signal
import subprocess
import sys
import time

import pytest
from scene.gltf_builder import TRIANGLE, GltfBuilder

from genrender.cli import main
from genrender.scene.load import load_scene


def refused(capsys, *words):
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("genrender: error: ")
    return captured.err


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["--prompt", "fox\udcff"], "prompt is 'fox\N{REPLACEMENT CHARACTER}', which is no valid text"),
        (["--prompt", "\ud800"], "no valid text"),
        (["--prompt", "x" * 20_000], "prompt has 20,000 characters, expected at most 10,000"),
        (["--prompt-for", "card=\udcff"], "prompt for is"),
        (["--frames", str(10**400)], "frames is a number of 401 digits"),
        (["--seed", str(2**70)], "seed is a number of 22 digits"),
        (["--fps", "1e999"], "fps is inf, expected a finite number"),
        (["--fps", "1e308"], "fps is 1e+308, expected 0.001 to 10,000"),
        (["--fps", "1e-308"], "fps is 1e-308, expected 0.001 to 10,000"),
        (["--alpha", "1e999"], "alpha is inf"),
        (["--size", "1" + "0" * 5000], "expected pixels"),
        (["--camera", "a" * 300 + ".json"], "a name of 305 bytes"),
        (["--model", "y/" * 3000], "a path of 5,999 bytes"),
        (["--out", "a" * 300 + ".mp4"], "out has a name of 304 bytes"),
        (["--out", "a\0b.mp4"], "out is 'a\\x00b.mp4', expected a path without null"),
        (["--run-dir", "circle"], "run dir is circle, which cannot be looked up"),
        (["--device", "meta"], "cannot compute on device 'meta'"),
        (["--device", "hpu"], "cannot compute on device 'hpu'"),
        (["--device", "vulkan"], "cannot compute on device 'vulkan'"),
    ],
)
def test_words_that_are_refused(tmp_path, monkeypatch, capsys, scene, model, words, pattern):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    command = ["render", scene, "--prompt", "a fox", "--model", model, "--frames", "2", *words]
    line = refused_after_notes(capsys, command) if "--device" in words else refused(capsys, *command)
    assert pattern in line
    assert [path.name for path in tmp_path.iterdir()] == ["circle"]


def refused_after_notes(capsys, command):
    assert main([str(word) for word in command]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "genrender: error: " in line]
    assert len(errors) == 1
    return errors[0]


def test_times_beyond_any_clip(tmp_path, monkeypatch, capsys, scene):
    monkeypatch.chdir(tmp_path)
    assert "a time is 1e+308" in refused(capsys, "gbuffers", scene, "--out", "g", "--times", "0,1e308")


def test_words_in_usage_messages_do_not_steer_the_terminal(capsys):
    assert main(["inspect", "a.glb", "--objects", "\x1b[2J\x00[/red]\udcff"]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\x00" not in said
    assert "x1b[2J" in said


def test_names_of_a_file_are_spelled_out_and_are_no_markup(tmp_path, capsys):
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(TRIANGLE), name="[red]a[/]\x1b[2J\u202eb")
    builder.node(mesh=builder.mesh(TRIANGLE), name="c")
    path = builder.save(tmp_path / "[bold]a.gltf")
    path.write_text(path.read_text().replace('"c"', '"half \\ud83e"'))
    assert [thing.name for thing in load_scene(path).objects][1] == "half \N{REPLACEMENT CHARACTER}"
    assert main(["inspect", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [thing["name"] for thing in report["objects"]] == [
        "[red]a[/]\x1b[2J\u202eb",
        "half \N{REPLACEMENT CHARACTER}",
    ]
    assert main(["inspect", str(path)]) == 0
    table = capsys.readouterr().out
    assert "[bold]a.gltf" in table
    assert "\x1b" not in table
    assert "\u202e" not in table
    squeezed = "".join(character for character in table if character not in " │\n")
    assert "[red]a[/]" in squeezed


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_second_and_a_third_interrupt_show_no_traceback():
    # A program whose work and whose closing both take long, as with libraries that hold threads.
    code = (
        "import atexit, sys, time, types\n"
        "import genrender.__main__ as program\n"
        "def main():\n"
        "    print('at work', flush=True); time.sleep(60)\n"
        "def close():\n"
        "    print('closing', flush=True); time.sleep(60)\n"
        "atexit.register(close)\n"
        "sys.modules['genrender.cli'] = types.SimpleNamespace(main=main)\n"
        "sys.exit(program.program())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # In the background a shell has programs ignore interrupts, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "closing\n"
        assert process.stderr.readline() == "genrender: interrupted\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "genrender: closing; Ctrl-C once more ends it at once\n"
        started_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - started_s < 10
        assert process.stderr.read() == ""

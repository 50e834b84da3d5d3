"""What Windows and macOS lack is pretended here; docs/platforms.md says what that finds and what not."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import genrender

ROOT = Path(__file__).parents[1]
SOURCE = Path(genrender.__file__).parent
BIPED = str(ROOT / "examples" / "scenes" / "walking_biped.glb")
SHOT = (BIPED, "--animation", "Walk", "--frames", "2", "--size", "32")
# As `genrender serve` begins and ends, with one question to a process that reads.
SERVE = """
import sys
from pathlib import Path
from genrender.server.studio import Studio, StudioConfig, held_by
with Studio(StudioConfig(Path("studio")), "http://127.0.0.1:1") as studio:
    assert held_by(Path("studio"))["address"] == "http://127.0.0.1:1"
    print(studio.reader.call("words", 300.0, model="pocket", text="a red fxo")[0]["unknown"][0]["word"])
assert held_by(Path("studio")) is None
"""
# Commands one after the other, as `genrender` runs them; what one leaves open is in the way of the next.
COMMANDS = """
import json, sys
from pathlib import Path
from genrender.cli import main
for words in json.loads(sys.argv[1]):
    assert main(words) == 0, words
    assert not any(Path("run", left).exists() for left in ("unfinished", "finishing")), words
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pretends on Linux to be another system")


def run_on(system: str, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A process of Python in a folder, with its own folder for temporary files."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    places = [str(Path(__file__).parent / "other_systems"), str(SOURCE.parent)]
    environment = {
        **os.environ,
        "PRETEND_SYSTEM": system,
        "PYTHONPATH": os.pathsep.join(places),
        "TMPDIR": str(scratch),
    }
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert [file.name for file in scratch.iterdir() if file.name.startswith("genrender-")] == []
    return done


def test_windows_is_pretended(tmp_path):
    """A canary: what is refused there is refused here."""
    code = (
        "import os\n"
        "open('a', 'w').close()\n"
        "for broken in (\"held = open('a'); os.replace('a', 'b')\", \"open('con.txt', 'w')\",\n"
        "               \"os.mkdir('a:b')\", 'import fcntl', 'os.pwrite'):\n"
        "    try: exec(broken)\n"
        "    except (OSError, ImportError, AttributeError): print('refused')\n"
    )
    assert run_on("windows", tmp_path, "-c", code).stdout.split() == ["refused"] * 5


@pytest.mark.slow
def test_a_video_is_made_and_looked_at_as_on_windows(tmp_path):
    """Files that are open cannot be removed there: nothing of what is under way may stay behind."""
    making = [
        "render",
        *SHOT,
        "--prompt",
        "a red biped",
        "--steps",
        "1",
        "--run-dir",
        "run",
        "--out",
        "a.mp4",
    ]
    run_on("windows", tmp_path, "-m", "genrender", "preview", *SHOT, "--out", "seen")
    # The second takes the place of the first.
    commands = [making, making, ["finish", "run", "--also", "exr"], ["diagnose", "run"]]
    said = run_on("windows", tmp_path, "-c", COMMANDS, json.dumps(commands)).stdout
    assert said.count("run folder     run") == 2


@pytest.mark.parametrize("system", ["windows", "macos"])
def test_a_server_reads_for_its_page_there(tmp_path, system):
    assert run_on(system, tmp_path, "-c", SERVE).stdout.split() == ["fxo"]


def test_text_is_utf_8_whatever_the_system_prefers():
    """Python takes the system's encoding where none is named: on Windows one of many."""
    found = []
    for source in sorted(SOURCE.rglob("*.py")):
        for call in ast.walk(ast.parse(source.read_bytes())):
            if isinstance(call, ast.Call) and _is_text_without_encoding(call):
                found.append(f"{source.relative_to(SOURCE)}:{call.lineno}")
    assert found == []


def _is_text_without_encoding(call: ast.Call) -> bool:
    words = {one.value for one in call.args if isinstance(one, ast.Constant)}
    if words & {"utf-8", "ascii"} or any(one.arg == "encoding" for one in call.keywords):
        return False
    called = ast.unparse(call.func)
    is_text_file = called == "open" and not words & {"rb", "wb", "ab", "r+b"}
    return is_text_file or called.endswith((".read_text", ".write_text"))

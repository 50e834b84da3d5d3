"""The test suite with every dependency at its lowest allowed version, or at its newest.

    python tools/versions.py lowest                          # the whole suite, on the Python that runs this
    python tools/versions.py newest --python python3.13      # on another Python
    python tools/versions.py lowest -- tests/scene -q        # with arguments for pytest

`uv` resolves what pyproject.toml allows, from wheels alone, and makes the environment
`build/versions/lowest-3.11`, say, with the list of what is in it beside it. What the tests run with (pytest
and its like) is no dependency of genrender: for `lowest` it has the versions of constraints.txt.
"""

import argparse
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}


def canonical(requirement: str) -> str:
    """The name that a requirement begins with, as package indexes compare it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def requirements(which: str) -> list[str]:
    """What genrender and its extras ask for, then what the tests run with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    own = [*project["dependencies"], *(one for name, some in extras.items() if name != "dev" for one in some)]
    tools = [tool for tool in extras["dev"] if canonical(tool) != "genrender"]
    if which == "lowest":
        lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        pinned = {canonical(line): line for line in lines if "==" in line}
        tools = [pinned[canonical(tool)] for tool in tools]
    return own + tools


def environment(which: str, python: str) -> Path:
    """Makes the environment, or changes the one that is there, and returns its interpreter."""
    said = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    folder = ROOT / "build" / "versions" / f"{which}-{said.stdout.strip()}"
    resolved = folder.with_suffix(folder.suffix + ".txt")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not (folder / "pyvenv.cfg").exists():
        uv("venv", "--python", python, str(folder))
    interpreter = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    chosen = ("--python", str(interpreter), "--only-binary", ":all:")
    uv(
        "pip",
        "compile",
        *chosen,
        "--resolution",
        RESOLUTIONS[which],
        "--upgrade",
        "--no-header",
        "--no-annotate",
        "--output-file",
        str(resolved),
        "-",
        given="\n".join(requirements(which)),
    )
    uv("pip", "sync", *chosen, str(resolved))
    uv("pip", "install", "--python", str(interpreter), "--no-deps", "--editable", str(ROOT))
    return interpreter


def uv(*words: str, given: str | None = None) -> None:
    """Runs uv, quietly, and ends with what it says if it fails."""
    if subprocess.run(["uv", *words, "--quiet"], input=given, text=True).returncode:
        sys.exit(f"uv {words[0]} failed")


def main() -> int:
    """Makes the environment and runs pytest in it; returns what pytest does."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="What follows -- is for pytest."
    )
    parser.add_argument("which", choices=RESOLUTIONS)
    parser.add_argument("--python", default=sys.executable, help="the interpreter to run on")
    # What follows -- is not argparse's: after an option it would not take it for the rest.
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    asked = parser.parse_args(words[:end])
    interpreter = environment(asked.which, asked.python)
    tests = [str(interpreter), "-m", "pytest", *words[end + 1 :]]
    return subprocess.run(tests, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())

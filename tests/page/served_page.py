"""A served folder in a process of its own, asked as the page asks it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

BIPED = Path(__file__).resolve().parents[2] / "examples" / "scenes" / "walking_biped.glb"
# Small enough to be made in seconds, and large enough to be looked at.
SMALL = {
    "prompt": "a red biped on a green background",
    "size": "64",
    "frames": 4,
    "steps": 2,
    "preset": "fast",
}
PATIENCE_S = 120


def until(page: Any, script: str, *given: Any) -> None:
    """Waits until a script is true in a page, which forbids Playwright's own way, to evaluate text."""
    end = time.monotonic() + PATIENCE_S / 2
    while not page.evaluate(script, *given):
        assert time.monotonic() < end, script
        page.wait_for_timeout(30)


class ServedPage:
    """`genrender serve` on a folder.

    Args:
        folder: what it serves.
        options: of the command line. Begun again, it answers where it did.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = 0
        self.address = ""
        self.begin()

    def begin(self) -> None:
        """Starts the server and waits until it answers."""
        words = ["serve", "--folder", str(self.folder), "--port", str(self.port), *self.options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genrender", *words],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://[\d.]+:(\d+)", line)
        assert found is not None, line
        self.address, self.port = found[0], int(found[1])

    def __enter__(self) -> "ServedPage":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._end(signal.SIGKILL)

    def end(self) -> None:
        """Ends it as Ctrl-C does."""
        self._end(signal.SIGINT)

    def _end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One answer of the API."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            f"{self.address}/api/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
            read = answer.read()
        return json.loads(read) if answer.headers.get_content_type() == "application/json" else read

    def example(self) -> str:
        """The id of the scene that comes with the program."""
        return self.ask("POST", "scenes/example")["id"]

    def submit(self, scene: str, **settings: Any) -> str:
        """The id of a run that is asked for."""
        return self.ask("POST", "runs", {"scene": scene, "settings": {**SMALL, **settings}, "from": None})[
            "id"
        ]

    def wait_for(self, run: str, state: str = "finished") -> dict[str, Any]:
        """A run, once it is in a state; a run that failed says why."""
        until = time.monotonic() + PATIENCE_S
        while True:
            found = self.ask("GET", f"runs/{run}")
            if found["state"] == state:
                return found
            assert found["state"] in ("waiting", "running"), found
            assert time.monotonic() < until, found
            time.sleep(0.1)

    def frames(self, run: dict[str, Any]) -> list[bytes]:
        """The PNG files of a finished run."""
        return [self.ask("GET", f"runs/{run['id']}/frames/{frame}.png") for frame in range(run["n_frames"])]

"""A real server, killed in the middle of a run, keeps what it was told; a second one knows of it.

That such a run ends in the same frames is tested on the page, tests/page/test_page_faults.py.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from server.scene_files import SCENES

from genrender.runs.unfinished import has_steps
from genrender.server.client import Client, run_path
from genrender.server.studio import held_by

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals and locks")
SETTINGS = {"prompt": "a red biped", "frames": 3, "steps": 16, "size": "64", "dtype": "float32"}


class Server:
    """`genrender serve` in a folder, at a free port."""

    def __init__(self, folder: Path) -> None:
        words = ("serve", "--folder", str(folder), "--port", "0", "--device", "cpu")
        # Python keeps back what it writes into a pipe, unless it is told otherwise.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genrender", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline().split()
        assert said[:1] == ["open"], self.process.communicate()[1]
        self.client = Client(said[1])

    def end(self, number: int) -> tuple[int, str]:
        """The exit code, and what was said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def wait_until(is_so, timeout_s=60.0):
    ends_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < ends_s, "it takes too long"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_server_keeps_its_runs_and_their_order(tmp_path):
    folder = tmp_path / "studio"
    server = Server(folder)
    scene = server.client.upload("/api/scenes", [SCENES / "walking_biped.glb"])["id"]
    first, second = (
        server.client.ask("POST", "/api/runs", {"scene": scene, "settings": SETTINGS | {"seed": seed}})["id"]
        for seed in (1, 2)
    )
    wait_until(lambda: has_steps(folder / "runs" / first))

    # A second server on the folder says who holds it.
    words = ("serve", "--folder", str(folder), "--port", "0")
    other = subprocess.run(
        [sys.executable, "-m", "genrender", *words], capture_output=True, text=True, check=False
    )
    assert other.returncode == 2
    assert f"is served already by process {server.process.pid} on" in other.stderr
    holder = held_by(folder)
    assert holder is not None
    assert holder["pid"] == server.process.pid

    assert server.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert not (folder / "runs" / first / "video.mp4").exists()

    server = Server(folder)
    stopped, waiting = (server.client.ask("GET", run_path(run)) for run in (first, second))
    assert (stopped["state"], stopped["can_resume"], stopped["keeps_steps"]) == ("stopped", True, True)
    assert waiting["state"] in ("waiting", "running")
    code, said = server.end(signal.SIGTERM)
    assert (code, "Traceback" in said) == (0, False)


def test_a_worker_ends_with_the_server_that_began_it():
    code = (
        "import sys, threading, time\n"
        "from genrender.storage.child import requests\n"
        "for line in requests():\n"
        "    print('at work', flush=True)\n"
        "    time.sleep(600)\n"
    )
    master = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {code!r}], stdin=subprocess.PIPE, text=True)\n"
        "child.stdin.write('line\\n'); child.stdin.flush()\n"
        "print(child.pid, flush=True); time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", master], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(2)]
    pid = int(next(word for word in said if word.isdecimal()))
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until(lambda: not _is_alive(pid))


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    except OSError:
        os.kill(pid, 0)
        return True
    return state != "Z"

"""How the page's server bears a crowd: jobs submitted at once, and many readers while they are made.

    python benchmarks/page_load.py [--jobs 20] [--readers 100] [--seconds 60] [--pause 1.0] [--soak 3600]

A server of its own on this machine, in a folder that goes afterwards. Every reader asks for the state of a
run, waits, and asks again, over one connection; a tenth of them ask for the gallery instead. Prints JSON: how
many jobs were lost, how long answers took, and the server's memory. The jobs are tiny and by pocket.
With `--soak` a tenth of the readers stay for so many seconds more, while a job is submitted and a scene read
now and then; memory of the server and of all its processes is told once a minute, on stderr as well.
"""

import argparse
import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from genrender.server.client import Client

SETTINGS = {"prompt": "a red biped", "frames": 8, "steps": 10, "size": "64"}
# Every so many readers one asks for the gallery.
GALLERY = 10
# While the server soaks, a job is submitted every so many minutes.
EVERY_MINUTES = 3


@dataclass
class Answers:
    """What readers have seen."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, float | int | None]:
        """Median, 99th percentile and largest, in milliseconds."""
        ordered = sorted(self.seconds)

        def at(share: float) -> float | None:
            if not ordered:
                return None
            return round(1000 * ordered[min(math.ceil(share * len(ordered)) - 1, len(ordered) - 1)], 1)

        return {"answers": len(ordered), "median_ms": at(0.5), "p99_ms": at(0.99), "largest_ms": at(1.0)}


async def read(address: str, path: str, pause_s: float, ends_s: float, answers: Answers) -> None:
    """Asks for a path again and again over one connection."""
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    try:
        while time.monotonic() < ends_s:
            begun_s = time.monotonic()
            writer.write(request)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
                # Who says nothing for seconds, on a machine that stood still, is left by the server.
                writer.close()
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
                continue
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            answers.seconds.append(time.monotonic() - begun_s)
            if b" 200 " not in head.split(b"\r\n")[0]:
                answers.failures.append(head.split(b"\r\n")[0].decode())
            await asyncio.sleep(pause_s)
    finally:
        writer.close()


async def read_all(address: str, runs: list[str], wanted: argparse.Namespace, answers: Answers) -> None:
    """All readers together; they begin spread over the first pause."""
    ends_s = time.monotonic() + wanted.seconds

    async def one(number: int) -> None:
        await asyncio.sleep(wanted.pause * number / wanted.readers)
        path = "/api/runs" if number % GALLERY == 0 else f"/api/runs/{runs[number % len(runs)]}"
        await read(address, path, wanted.pause, ends_s, answers)

    await asyncio.gather(*(one(number) for number in range(wanted.readers)))


def main() -> None:
    wanted = _options()
    with tempfile.TemporaryDirectory() as scratch:
        words = ("serve", "--folder", str(Path(scratch) / "studio"), "--port", "0")
        process = subprocess.Popen(
            [sys.executable, "-m", "genrender", *words], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[1]
            print(json.dumps(measured(address, psutil.Process(process.pid), wanted), indent=2))
        finally:
            process.terminate()
            process.wait(60)


def measured(address: str, server: psutil.Process, wanted: argparse.Namespace) -> dict[str, object]:
    """The whole load, and what came of it."""
    client = Client(address)
    scene = client.ask("POST", "/api/scenes/example")["id"]
    quiet = Answers()
    asyncio.run(read_all(address, [""], argparse.Namespace(readers=1, seconds=2, pause=0.02), quiet))

    begun_s = time.monotonic()
    with ThreadPoolExecutor(wanted.jobs) as pool:
        asked = [
            pool.submit(
                Client(address).ask,
                "POST",
                "/api/runs",
                {"scene": scene, "settings": SETTINGS | {"seed": seed}},
            )
            for seed in range(wanted.jobs)
        ]
        runs = [one.result()["id"] for one in asked]
    submitted_s = time.monotonic() - begun_s

    memory = [server.memory_info().rss]
    answers = Answers()
    asyncio.run(read_all(address, runs, wanted, answers))
    memory.append(server.memory_info().rss)
    soaked = soak(address, scene, runs, server, wanted) if wanted.soak else {}
    during = [client.ask("GET", f"/api/runs/{run}")["state"] for run in runs]
    while any(client.ask("GET", f"/api/runs/{run}")["state"] in ("waiting", "running") for run in runs):
        time.sleep(1)
    ends = [client.ask("GET", f"/api/runs/{run}")["state"] for run in runs]
    return {
        "jobs": wanted.jobs,
        "submitted_s": round(submitted_s, 2),
        "finished_while_read": during.count("finished"),
        "finished": ends.count("finished"),
        "lost": wanted.jobs - len(set(runs)) + sum(state != "finished" for state in ends),
        "without_load": quiet.facts(),
        "readers": wanted.readers,
        **answers.facts(),
        "failures": answers.failures[:5],
        "memory_before_mb": round(memory[0] / 1e6, 1),
        "memory_after_mb": round(memory[1] / 1e6, 1),
        "load_average": round(psutil.getloadavg()[0], 1),
        **soaked,
    }


def soak(
    address: str, scene: str, known: list[str], server: psutil.Process, wanted: argparse.Namespace
) -> dict[str, object]:
    """Few readers and a job now and then, for a long time; memory once a minute."""
    readers = max(wanted.readers // 10, 1)
    patient = argparse.Namespace(readers=readers, seconds=wanted.soak, pause=wanted.pause)
    client, answers, samples, runs = Client(address), Answers(), [], []
    begun_s = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: asyncio.run(read_all(address, known, patient, answers)))
        while not reading.done():
            minute = len(samples)
            if minute % EVERY_MINUTES == 0:
                job = {"scene": scene, "settings": SETTINGS | {"seed": 1000 + minute}}
                runs.append(client.ask("POST", "/api/runs", job)["id"])
                client.ask("POST", "/api/scenes/example")
            samples.append(
                {
                    "minute": round((time.monotonic() - begun_s) / 60, 1),
                    "server_mb": round(server.memory_info().rss / 1e6, 1),
                    "processes_mb": _children_mb(server),
                    "files": server.num_fds(),
                    "threads": server.num_threads(),
                    "load_average": round(psutil.getloadavg()[0], 1),
                }
            )
            print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
            wait([reading], timeout=60)
        reading.result()
    while any(client.ask("GET", f"/api/runs/{run}")["state"] in ("waiting", "running") for run in runs):
        time.sleep(1)
    ends = [client.ask("GET", f"/api/runs/{run}")["state"] for run in runs]
    return {
        "soak_s": wanted.soak,
        "soak_jobs": len(ends),
        "soak_finished": ends.count("finished"),
        "soak_answers": answers.facts() | {"failures": answers.failures[:5]},
        "soak_samples": samples,
    }


def _children_mb(server: psutil.Process) -> dict[str, float]:
    """Resident memory of each process that the server began, by its number."""
    sizes = {}
    for child in server.children(recursive=True):
        try:
            sizes[str(child.pid)] = round(child.memory_info().rss / 1e6, 1)
        except psutil.NoSuchProcess:
            continue
    return sizes


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=1.0)
    parser.add_argument("--soak", type=float, default=0.0, help="go on for so many seconds with few readers")
    return parser.parse_args()


if __name__ == "__main__":
    main()

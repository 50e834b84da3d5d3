"""`genrender batch --server`: the same jobs in a server's queue, where its page shows them together."""

import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genrender.batches.lines import asked_values, default_name, read_lines
from genrender.batches.state import JobState, State, Work
from genrender.cli.submit import check_can_be_sent, sent_scene, sent_settings
from genrender.errors import ConfigError, GenRenderError
from genrender.options.by_name import command_of
from genrender.options.commands import Render
from genrender.options.settings import settings_of
from genrender.server.client import Client, run_path

# How often the server is asked how far it is.
ASK_EVERY_S = 1.0
STATES: dict[str, State] = {
    "finished": "done",
    "failed": "failed",
    "stopped": "stopped",
    "running": "running",
    "waiting": "waiting",
    "deleted": "stopped",
}
# Settings that name files, which a server calls otherwise.
OF_FILES = ("camera", "ip_image")


@dataclass
class Sent:
    """One line.

    Attributes:
        state: where its run is.
        options: what is asked for.
        run: the server's id of it; None: it was not sent yet.
        asked: what is sent.
    """

    state: JobState
    options: Render
    run: str | None = None
    asked: dict[str, Any] = field(default_factory=dict)


class ServerBatch:
    """Jobs of a file as runs of a server, which keeps them whatever becomes of this process.

    Args:
        file: of the jobs.
        name: of the batch.

    Attributes:
        mistakes: numbers of lines that cannot be used, and why.
        jobs: where each of the others is.
        at: what those that are running are at, by name.
    """

    def __init__(self, client: Client, file: Path, name: str) -> None:
        self._client, self._name = client, name
        self._queued = int(client.ask("GET", "/api/about")["limits"]["queued"])
        self.mistakes: list[tuple[int, str]] = []
        self.at: dict[str, Work] = {}
        self._sent: dict[str, Sent] = {}
        for number, values in read_lines(file):
            try:
                sent = _read(values, number)
                if (other := self._sent.setdefault(sent.state.job, sent)) is not sent:
                    raise ConfigError(f"line {other.state.line} has the same job; give each another name")
            except GenRenderError as error:
                self.mistakes.append((number, str(error)))
        self._find()
        self.jobs = [sent.state for sent in self._sent.values()]
        if not self.mistakes:
            self._check()

    def _runs(self) -> Iterator[dict[str, Any]]:
        """All runs of the batch that the server knows, the oldest of a name first."""
        found, before = [], None
        while True:
            answer = self._client.ask("GET", "/api/runs", batch=self._name, limit=500, before=before)
            found += answer["runs"]
            if (before := answer["next"]) is None:
                return reversed(found)

    def _find(self) -> None:
        """Which lines an earlier call has sent."""
        for run in self._runs():
            if (sent := self._sent.get(run["name"])) is None:
                continue
            wanted = {k: v for k, v in settings_of(sent.options).items() if k not in OF_FILES}
            if wanted != {k: v for k, v in run["changed"].items() if k not in OF_FILES}:
                self.mistakes.append(
                    (
                        sent.state.line,
                        f"the server has another run {run['name']!r} in the batch {self._name!r}: give this "
                        "one another job, or the batch another --name",
                    )
                )
            sent.run = run["id"]
            sent.state.was_there = run["state"] == "finished"
            _take_in(sent.state, run)

    def _check(self) -> None:
        """Has the server look at every line that was not sent yet, before the first is."""
        scenes: dict[Path, str] = {}
        for sent in self._sent.values():
            if sent.run is not None:
                continue
            try:
                scene = sent.options.scene
                if scene not in scenes:
                    scenes[scene] = sent_scene(self._client, scene)
                sent.asked = {"scene": scenes[scene], "settings": sent_settings(self._client, sent.options)}
                told = self._client.ask("POST", "/api/check", sent.asked)
                if told["error"] is not None:
                    raise ConfigError(told["error"])
            except GenRenderError as error:
                self.mistakes.append((sent.state.line, str(error)))

    def run(self, watch: Any) -> None:
        """Sends what was not sent, has stopped runs go on, and follows all to their end.

        Args:
            watch: called after every question.
        """
        for sent in self._sent.values():
            if sent.run is not None and sent.state.state in ("failed", "stopped"):
                self._client.ask("POST", run_path(sent.run, "resume"), {})
                sent.state.state = "waiting"
        for sent in self._sent.values():
            if sent.run is None:
                while self._client.ask("GET", "/api/runs", state="waiting", limit=1)["total"] >= self._queued:
                    self._wait(watch)
                asked = {**sent.asked, "name": sent.state.job, "batch": self._name}
                sent.run = str(self._client.ask("POST", "/api/runs", asked)["id"])
        self._update()
        while any(job.state in ("waiting", "running") for job in self.jobs):
            self._wait(watch)
        watch()
        for sent in self._sent.values():
            out = sent.options.out
            if out is not None and sent.state.state == "done" and sent.run is not None:
                self._client.fetch(run_path(sent.run, "video.mp4"), out)

    def _wait(self, watch: Any) -> None:
        watch()
        time.sleep(ASK_EVERY_S)
        self._update()

    def _update(self) -> None:
        of_run = {sent.run: sent.state for sent in self._sent.values() if sent.run is not None}
        self.at.clear()
        for run in self._runs():
            job = of_run.get(run["id"])
            if job is None:
                continue
            _take_in(job, run)
            if run["progress"] is not None:
                progress = run["progress"]
                self.at[job.job] = Work(progress["work"], progress["done"], progress["total"])


def _read(values: Any, number: int) -> Sent:
    name, command, named = asked_values(values)
    if command != "render":
        raise ConfigError(f"a server makes renders alone, and this is a {command}: give it to another batch")
    options = command_of(Render, named)
    check_can_be_sent(options)
    name = name or default_name(command, named, options)
    return Sent(JobState(name, number, ["genrender", command], "", "the page"), options)


def _take_in(job: JobState, run: dict[str, Any]) -> None:
    job.state, job.error = STATES[run["state"]], run["error"]
    if run["started"] and run["ended"]:
        started, ended = (datetime.datetime.fromisoformat(run[name]) for name in ("started", "ended"))
        job.seconds = max(0.0, (ended - started).total_seconds())

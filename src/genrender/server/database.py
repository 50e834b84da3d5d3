"""What a server keeps beside the files: scenes, runs and the speed of models, in one SQLite file.

Every entry is a record of its own as JSON, with the columns beside it that are asked for. Writing waits until
the disk has it (WAL, synchronous): what a client was told is there after a crash.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from genrender.errors import MediaError
from genrender.storage.untrusted import json_text

State = Literal["waiting", "running", "stopped", "failed", "finished", "deleted"]
VERSION = 1
_TABLES = """
CREATE TABLE scenes (id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, state TEXT NOT NULL, turn INTEGER,
    words TEXT NOT NULL, record TEXT NOT NULL
);
CREATE INDEX by_state ON runs (state, turn);
CREATE TABLE paces (key TEXT PRIMARY KEY, frame_s REAL NOT NULL, memory_bytes REAL);
"""


@dataclass(frozen=True)
class SceneEntry:
    """A scene that was uploaded.

    Attributes:
        scene: the file or folder, relative to the scene's own folder.
        report: what was found when it was read first.
    """

    id: str
    name: str
    kind: str
    added: str
    bytes: int
    scene: str
    report: dict[str, Any]


@dataclass(frozen=True)
class RunEntry:
    """A run, from its request to its end.

    Attributes:
        scene: id of its scene; None: it is not one of this server's.
        settings: what was asked for, as settings.
        job: the same as a job.
        before: the state that a deleted run had.
        shape: `n_frames`, `fps`, `width`, `height`, `steps`.
        metrics: figures, once they are measured.
        seeds: of a sheet of several seeds, which is made instead of a video.
        wish: `also` and `upscale` of files that a finished run is to get now; None: none.
        batch: what it was asked for with others; None: alone.
    """

    id: str
    name: str
    scene: str | None
    scene_name: str
    settings: dict[str, Any]
    job: dict[str, Any]
    created: str
    state: State = "waiting"
    before: State | None = None
    started: str | None = None
    ended: str | None = None
    error: str | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shape: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] | None = None
    seeds: str | None = None
    wish: dict[str, Any] | None = None
    batch: str | None = None


class Database:
    """Entries of one studio. Any thread may ask.

    Args:
        file: made where it is missing.

    Raises:
        MediaError: it is of a later version, or no database.
    """

    def __init__(self, file: Path) -> None:
        self._turn, self._reading_turn = threading.RLock(), threading.Lock()
        self._link = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        # Whoever reads does not wait until the disk has what somebody else writes.
        self._reading = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        try:
            self._prepare(file)
        except MediaError:
            self.close()
            raise

    def _prepare(self, file: Path) -> None:
        try:
            self._link.execute("PRAGMA journal_mode = WAL")
            self._link.execute("PRAGMA synchronous = FULL")
            version = self._link.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._link.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        except sqlite3.DatabaseError as error:
            raise MediaError(f"cannot use {file}: {error}; move it away, runs and scenes stay") from error
        if version > VERSION:
            raise MediaError(
                f"{file} is of a later version of genrender: update genrender, or choose another folder"
            )

    def close(self) -> None:
        """Writes what is still in the log."""
        with self._turn, self._reading_turn:
            self._reading.close()
            self._link.close()

    def _ask(self, words: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        if words.startswith("SELECT"):
            with self._reading_turn:
                return self._reading.execute(words, tuple(values)).fetchall()
        with self._turn:
            return self._link.execute(words, tuple(values)).fetchall()

    # Scenes

    def put_scene(self, entry: SceneEntry) -> None:
        self._ask("INSERT OR REPLACE INTO scenes VALUES (?, ?)", (entry.id, json_text(asdict(entry))))

    def scene(self, id: str) -> SceneEntry | None:
        found = self._ask("SELECT record FROM scenes WHERE id = ?", (id,))
        return SceneEntry(**json.loads(found[0][0])) if found else None

    def scenes(self) -> list[SceneEntry]:
        """The newest first."""
        rows = self._ask("SELECT record FROM scenes ORDER BY rowid DESC")
        return [SceneEntry(**json.loads(row[0])) for row in rows]

    def drop_scene(self, id: str) -> None:
        self._ask("DELETE FROM scenes WHERE id = ?", (id,))

    # Runs

    def add_run(self, entry: RunEntry) -> None:
        """The last in the queue, if it waits."""
        with self._turn:
            turn = self._next_turn() if entry.state == "waiting" else None
            columns = (entry.id, entry.state, turn, _words(entry), json_text(asdict(entry)))
            self._ask("INSERT INTO runs (id, state, turn, words, record) VALUES (?, ?, ?, ?, ?)", columns)

    def change_run(self, id: str, expected: Sequence[State] = (), **changes: Any) -> RunEntry | None:
        """The entry with changes.

        Args:
            expected: states in which it may be changed; empty: any.

        Returns:
            None: there is no such run, or it is in another state by now.
        """
        with self._turn:
            entry = self.run(id)
            if entry is None or (expected and entry.state not in expected):
                return None
            changed = replace(entry, **changes)
            turn = self._ask("SELECT turn FROM runs WHERE id = ?", (id,))[0][0]
            if changed.state != entry.state:
                turn = self._next_turn() if changed.state == "waiting" else None
            columns = (changed.state, turn, _words(changed), json_text(asdict(changed)), id)
            self._ask("UPDATE runs SET state = ?, turn = ?, words = ?, record = ? WHERE id = ?", columns)
            return changed

    def _next_turn(self) -> int:
        return self._ask("SELECT COALESCE(MAX(turn), 0) + 1 FROM runs")[0][0]

    def run(self, id: str) -> RunEntry | None:
        found = self._ask("SELECT record FROM runs WHERE id = ?", (id,))
        return RunEntry(**json.loads(found[0][0])) if found else None

    def runs(
        self,
        search: str = "",
        states: Sequence[str] = (),
        limit: int = -1,
        before: str | None = None,
        batch: str | None = None,
    ) -> tuple[list[RunEntry], int]:
        """The newest first, and how many there are in all.

        Args:
            search: words that name, prompt, scene and model hold, in any order.
            states: None but these; empty: all but deleted ones.
            before: those that are older than this one.
            batch: those of this batch; None: all.
        """
        wanted = list(states) or ["waiting", "running", "stopped", "failed", "finished"]
        clauses, values = [f"state IN ({', '.join('?' * len(wanted))})"], list[Any](wanted)
        for word in search.casefold().split():
            clauses.append("instr(words, ?) > 0")
            values.append(word)
        if batch is not None:
            clauses.append("json_extract(record, '$.batch') = ?")
            values.append(batch)
        where = " AND ".join(clauses)
        total = self._ask(f"SELECT COUNT(*) FROM runs WHERE {where}", values)[0][0]
        if before is not None:
            where += " AND number < (SELECT number FROM runs WHERE id = ?)"
            values.append(before)
        rows = self._ask(
            f"SELECT record FROM runs WHERE {where} ORDER BY number DESC LIMIT ?", [*values, limit]
        )
        return [RunEntry(**json.loads(row[0])) for row in rows], total

    def batches(self) -> dict[str, dict[str, int]]:
        """How many runs of each batch are in which state, deleted ones apart; the newest batch first."""
        rows = self._ask(
            "SELECT json_extract(record, '$.batch') AS batch, state, COUNT(*), MAX(number) FROM runs "
            "WHERE batch IS NOT NULL AND state != 'deleted' GROUP BY batch, state ORDER BY MAX(number) DESC"
        )
        found: dict[str, dict[str, int]] = {}
        for batch, state, count, _ in rows:
            found.setdefault(batch, {})[state] = count
        return found

    def first_waiting(self) -> RunEntry | None:
        """Whose turn it is."""
        rows = self._ask("SELECT record FROM runs WHERE state = 'waiting' ORDER BY turn LIMIT 1")
        return RunEntry(**json.loads(rows[0][0])) if rows else None

    def positions(self) -> dict[str, int]:
        """The waiting runs' places in the queue, from 0."""
        rows = self._ask("SELECT id FROM runs WHERE state = 'waiting' ORDER BY turn")
        return {row[0]: place for place, row in enumerate(rows)}

    def drop_run(self, id: str) -> None:
        self._ask("DELETE FROM runs WHERE id = ?", (id,))

    # Speeds

    def put_pace(self, key: str, frame_s: float, memory_bytes: float | None) -> None:
        self._ask("INSERT OR REPLACE INTO paces VALUES (?, ?, ?)", (key, frame_s, memory_bytes))

    def pace(self, key: str) -> tuple[float, float | None] | None:
        """Seconds for one frame and step, and bytes of memory."""
        found = self._ask("SELECT frame_s, memory_bytes FROM paces WHERE key = ?", (key,))
        return (found[0][0], found[0][1]) if found else None


def _words(entry: RunEntry) -> str:
    """What a search looks through."""
    settings = entry.settings
    texts = (entry.name, entry.id, entry.scene_name, settings.get("prompt"), settings.get("model"))
    return " ".join(str(text) for text in texts if text).casefold()

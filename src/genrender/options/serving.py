"""The options of the commands about a server, as plain data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from genrender.options.commands import Render
from genrender.options.groups import (
    STUDIO,
    Connection,
    Debug,
    Devices,
    Json,
    StudioFolder,
    Token,
    option,
)


@dataclass(frozen=True)
class Serve:
    """Open the page, and answer its API. Everything that it makes stays in one folder.

    Attributes:
        host: address to listen on; any but this machine's own needs --token.
        port: 0 takes a free one.
        name: more names that the server is asked by, such as one of a proxy; may be given several times.
        source: model, LoRA or the like that jobs may name beside pocket: file, folder or hub id; may be given
            several times.
        device: one worker for each; may be given several times.
        max_upload_mb: megabytes of an upload, at most.
        max_frames: frames of a run, at most.
        max_size: pixels of the longer side of a run's pictures, at most.
        max_steps: diffusion steps of a run, at most.
    """

    folder: StudioFolder = STUDIO
    host: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = "127.0.0.1"
    port: Annotated[int, tyro.conf.arg(metavar="P")] = 7860
    token: Token = None
    name: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("NAME", "none")] = ()
    source: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("SOURCE", "none")] = ()
    device: Devices = ()
    max_upload_mb: Annotated[int, tyro.conf.arg(metavar="MB")] = 1000
    max_frames: Annotated[int, tyro.conf.arg(metavar="N")] = 2000
    max_size: Annotated[int, tyro.conf.arg(metavar="N")] = 4096
    max_steps: Annotated[int, tyro.conf.arg(metavar="N")] = 200
    debug: Debug = False


@dataclass(frozen=True)
class Submit(Render):
    """Have a server render a scene. Options are those of `genrender render`, but for this machine's own.

    Attributes:
        scene: a scene, which is sent to the server, or the id of one that it has.
        wait: follow the run until it ends.
    """

    out: Annotated[
        Path | None,
        option("VIDEO.mp4", "none", "where the video goes; the command then waits for the end"),
    ] = None
    wait: bool = False
    connection: Connection = field(default_factory=Connection)


@dataclass(frozen=True)
class Jobs:
    """Show the runs of a server, or do something with one of them.

    Attributes:
        search: words that name, prompt, scene or model hold.
        cancel: take a run from the queue, or stop it; it can be resumed.
        resume: put a stopped run into the queue again.
        wait: follow a run until it ends.
        fetch: get the video of a run, to --out.
        delete: delete a run; for a day --restore brings it back.
        restore: bring a deleted run back.
        out: where the video goes.
    """

    search: Annotated[str | None, option("WORDS", "none")] = None
    cancel: Annotated[str | None, option("RUN", "none")] = None
    resume: Annotated[str | None, option("RUN", "none")] = None
    wait: Annotated[str | None, option("RUN", "none")] = None
    fetch: Annotated[str | None, option("RUN", "none")] = None
    delete: Annotated[str | None, option("RUN", "none")] = None
    restore: Annotated[str | None, option("RUN", "none")] = None
    out: Annotated[Path | None, option("VIDEO.mp4", "RUN.mp4")] = None
    connection: Connection = field(default_factory=Connection)
    json: Json = False
    debug: Debug = False

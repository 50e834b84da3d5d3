"""`genrender submit` and `genrender jobs`: a server's queue from the command line."""

from pathlib import Path
from typing import Any

from genrender.cli.console import Bars, cell, note, say, say_json, stdout_console, table, warn
from genrender.cli.serve import token_of
from genrender.errors import ConfigError, MediaError
from genrender.options.commands import Render
from genrender.options.serving import Jobs, Submit
from genrender.options.settings import settings_of
from genrender.scene.load import scene_files
from genrender.server.client import Client, run_path
from genrender.storage.untrusted import read_json

# Options of `render` that a server decides, or that mean files of this machine.
NOT_SENT = (
    *("run_dir", "exr_map", "allow_folder", "allow_pickle", "device"),
    *("only", "keyframes_from", "workers", "ray"),
)


def submit(options: Submit) -> None:
    """Sends the scene, asks for the run, and follows it where that is wanted."""
    check_can_be_sent(options)
    client = _client(options)
    settings = sent_settings(client, options)
    scene = sent_scene(client, options.scene)
    run = client.ask("POST", "/api/runs", {"scene": scene, "settings": settings})
    for text in run["warnings"]:
        warn(text)
    say(f"run    {run['id']}")
    say(f"scene  {scene}")
    if options.wait or options.out is not None:
        _follow(client, run["id"])
        note(f"{run['id']} is finished")
        if options.out is not None:
            client.fetch(run_path(run["id"], "video.mp4"), options.out)
            say(f"video  {options.out}")


def check_can_be_sent(options: Render) -> None:
    """Raises ConfigError or MediaError for what means nothing to a server."""
    given = {**vars(options), **vars(options.content), **vars(options.networks), **vars(options.parts)}
    for name in NOT_SENT:
        if given[name]:
            raise ConfigError(f"--{name.replace('_', '-')} cannot be sent to a server; leave it out")
    if options.extras.progress != "bars":
        raise ConfigError(
            f"--progress {options.extras.progress} is of runs on this machine; leave it out, or ask the "
            "server's API"
        )
    if options.extras.resume:
        raise ConfigError("--resume is of runs on this machine; give genrender jobs --resume RUN instead")
    if options.out is not None and options.out.suffix.lower() != ".mp4":
        raise MediaError(f"cannot write {options.out}: expected the name of an MP4 file")
    if options.out is not None and options.extras.seeds is not None:
        raise ConfigError("--seeds makes no video; leave --out out, the page shows the sheet")


def sent_settings(client: Client, options: Render) -> dict[str, Any]:
    """The settings that options ask for, with what they name as files sent to the server."""
    settings = settings_of(options)
    if options.extras.seeds is not None:
        settings["seeds"] = options.extras.seeds
    if options.adapters.ip_image:
        uploads = [client.upload("/api/pictures", [file]) for file in options.adapters.ip_image]
        settings["ip_image"] = [one["id"] for one in uploads]
    if options.view.camera is not None and options.view.camera.lower().endswith(".json"):
        settings["camera"] = _camera_file(Path(options.view.camera))
    return settings


def jobs(options: Jobs) -> None:
    """Does what is asked for, or lists the runs."""
    chosen = {
        name: getattr(options, name)
        for name in ("cancel", "resume", "wait", "fetch", "delete", "restore")
        if getattr(options, name) is not None
    }
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(f'--{name}' for name in chosen)} are given, expected one of them")
    if options.out is not None and options.fetch is None:
        raise ConfigError("--out is where --fetch puts a video: give --fetch RUN, too, or leave it out")
    if options.search is not None and chosen:
        raise ConfigError(f"--search is of the list of runs, and --{min(chosen)} of one; leave one out")
    client = _client(options)
    for name, run in chosen.items():
        _do(client, name, run, options)
        return
    found = client.ask("GET", "/api/runs", search=options.search, limit=500)
    if options.json:
        say_json(found)
        return
    shown = table("runs", {"id": "left", "state": "left", "done": "right", "prompt": "left", "what": "left"})
    for run in found["runs"]:
        shown.add_row(
            *(cell(text) for text in (run["id"], run["state"], _done(run), run["prompt"], run["error"] or ""))
        )
    stdout_console().print(shown)


def _do(client: Client, name: str, run: str, options: Jobs) -> None:
    if name == "fetch":
        out = options.out or Path(f"{run}.mp4")
        client.fetch(run_path(run, "video.mp4"), out)
        words = f"video  {out}"
    elif name == "wait":
        _follow(client, run)
        words = f"{run} is finished"
    elif name == "delete":
        client.ask("DELETE", run_path(run))
        words = f"{run} is deleted; genrender jobs --restore {run} brings it back for a day"
    else:
        words = f"{run} is {client.ask('POST', run_path(run, name), {})['state']}"
    if options.json:
        say_json(client.ask("GET", run_path(run)))
    else:
        say(words)


def _follow(client: Client, run: str) -> None:
    """Shows progress until a run ends.

    Raises:
        ConfigError: it does not end well.
    """
    told: dict[str, Any] = {}
    with Bars(shows_memory=False) as bars:
        for told in client.events(run_path(run, "events")):
            if told["progress"] is not None:
                bars(told["progress"]["work"], told["progress"]["done"], told["progress"]["total"])
    if told.get("state") != "finished":
        why = (
            told.get("error")
            or f"it is {told.get('state', 'unknown')}: genrender jobs --resume {run} goes on"
        )
        raise ConfigError(f"the run {run} did not finish: {why}")


def _client(options: Submit | Jobs) -> Client:
    asked = options.connection
    token = token_of(asked.token)
    return Client.of_folder(asked.folder, token) if asked.server is None else Client(asked.server, token)


def sent_scene(client: Client, scene: Path) -> str:
    """The id of a scene: one that the server has, or a new one."""
    if not scene.exists() and len(scene.parts) == 1 and not scene.suffix:
        return str(client.ask("GET", f"/api/scenes/{scene.name}")["id"])
    files = (
        sorted(file for file in scene.iterdir() if file.is_file()) if scene.is_dir() else scene_files(scene)
    )
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise MediaError(f"scene file not found: {missing[0]}; expected a file")
    return str(client.upload("/api/scenes", files)["id"])


def _camera_file(path: Path) -> Any:
    try:
        return read_json(path, ConfigError, "a camera file")
    except FileNotFoundError:
        raise ConfigError(f"camera file not found: {path}; mend --camera") from None


def _done(run: dict[str, Any]) -> str:
    progress = run["progress"]
    if progress is not None:
        return f"{progress['work']} {progress['done']}/{progress['total']}"
    return f"place {run['position'] + 1}" if run["position"] is not None else ""

"""`genrender serve`: the page."""

import os
from importlib.util import find_spec
from pathlib import Path

from genrender.cli.console import note, say
from genrender.errors import ConfigError
from genrender.options.serving import Serve
from genrender.server.studio import JobLimits, StudioConfig
from genrender.server.uploads import UploadLimits

LIBRARIES = ("fastapi", "uvicorn", "python_multipart")


def serve(options: Serve) -> None:
    """Answers until it is interrupted."""
    if any(find_spec(name) is None for name in LIBRARIES):
        raise ConfigError("the page needs libraries that are not installed; pip install 'genrender[web]'")
    limits = (options.max_upload_mb, options.max_frames, options.max_size, options.max_steps)
    for name, value in zip(("upload-mb", "frames", "size", "steps"), limits, strict=True):
        if value < 1:
            raise ConfigError(f"--max-{name} is {value}, expected at least 1")

    # Only here: the libraries may be missing.
    from genrender.server.serve import Place, serve

    config = StudioConfig(
        options.folder,
        options.device or (None,),
        tuple(map(_whole_path, options.source)),
        JobLimits(frames=options.max_frames, side=options.max_size, steps=options.max_steps),
        UploadLimits(bytes=options.max_upload_mb * 1_000_000),
    )
    place = Place(options.host, options.port, token_of(options.token), options.name)
    serve(config, place, lambda address: say(f"open {address} (Ctrl-C ends it; runs can be resumed)"))
    note("ended; what was waiting or going on is kept")


def token_of(given: str | None) -> str | None:
    """The token of an option, else of the environment, where no other user of the machine sees it."""
    return given or os.environ.get("GENRENDER_TOKEN") or None


def _whole_path(source: str) -> str:
    """Files by their whole path: a run that is resumed may be so from another folder."""
    return str(Path(source).resolve()) if Path(source).exists() else source

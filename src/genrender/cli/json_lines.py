"""`--progress json`: what a run tells, for the program that started it, as lines of JSON on stdout.

docs/programs.md lists them.
"""

import json
from pathlib import Path
from typing import Any

from genrender.jobs.plan import Plan
from genrender.runs.hooks import RunHooks


def tell(event: str, **facts: Any) -> None:
    """One line, at once."""
    print(json.dumps({"event": event, **facts}), flush=True)


HOOKS = RunHooks(
    note=lambda text: tell("note", text=text),
    warn=lambda text: tell("warning", text=text),
    progress=lambda work, done, total: tell("progress", work=work, done=done, total=total),
)


def tell_done(plan: Plan) -> None:
    """Where everything is."""
    folder, out = plan.folder, plan.job.out
    places = {
        "video": folder.video_file if out is None else out,
        "contact_sheet": folder.contact_sheet_file,
        "run_dir": folder.path,
    }
    tell("done", **{name: str(path.resolve()) for name, path in places.items()})


def tell_files(files: list[Path]) -> None:
    """Likewise, of files that a finished run got."""
    tell("done", files=[str(path.resolve()) for path in files])

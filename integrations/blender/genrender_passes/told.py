"""Lines of JSON, as the engine's: see `genrender --progress json`."""

import json
import sys


class PassError(Exception):
    """The scene cannot be made passes of; one line that says why, and how to mend it."""


def tell(event: str, **more: str | int) -> None:
    """Ends the program where nobody reads any more: Blender was closed."""
    sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
    sys.stdout.flush()

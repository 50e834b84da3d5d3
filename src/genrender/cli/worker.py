"""A process that makes one run after the other and keeps the model in memory between them.

    python -m genrender.cli.worker

reads the words of a command line as JSON from each line of stdin, and answers each with an exit code. Runs
have a process apart from whoever measures them, so that their peak memory is their own.
"""

import json
import os
import sys

from genrender.cli import main
from genrender.storage.memory import reset_peak_memory


def serve() -> None:
    """Answers until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # What a run prints for people is not for whoever waits for the answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        for line in sys.stdin:
            reset_peak_memory()
            print(main(json.loads(line)), file=answers, flush=True)
    except KeyboardInterrupt:
        pass  # between two runs; whoever started this process has been interrupted as well


if __name__ == "__main__":
    serve()

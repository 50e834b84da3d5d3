"""Writes the man page: what the options say of themselves, and what all commands share.

    python tools/man.py man/genrender.1

`make release` makes it, and the wheel brings it to share/man/man1. Needs `genrender[docs]`.
"""

import re
import sys
from inspect import cleandoc
from pathlib import Path

from reference import options_of

import genrender
from genrender.cli import COMMANDS, DESCRIPTION

EXIT_CODES = (
    ("0", "Everything is done."),
    ("1", "inspect found what keeps files from being rendered, or some jobs of a batch failed."),
    ("2", "A mistake that can be mended, told in one line on stderr."),
    ("130", "Interrupted."),
    ("141", "Nobody reads the output."),
)
VARIABLES = (
    ("GENRENDER_TOKEN", "Secret that a server wants to be told, where --token is not given."),
    ("HF_HOME, HF_HUB_OFFLINE", "Where models of the hub are kept, and that nothing is asked of it."),
    ("OMP_NUM_THREADS", "Threads of a process on the CPU; frames depend on it in their last bits."),
)


def escaped(text: str) -> str:
    """As roff shows it: hyphens that can be copied, lists that go on in the next line, no requests."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"(?<=[,|])(?=\S)", r"\\:", text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


def man_page() -> str:
    """The page, in the macros of man(7)."""
    lines = [
        f'.TH GENRENDER 1 "" "genrender {genrender.__version__}" "User Commands"',
        *(".ad l", ".nh"),  # names of files and options are not torn apart
        *(".SH NAME", f"genrender \\- {escaped(DESCRIPTION[0].lower() + DESCRIPTION[1:].rstrip('.'))}"),
        *(".SH SYNOPSIS", ".B genrender", ".I COMMAND", "[options]", ".br", ".B genrender \\-\\-version"),
        ".SH DESCRIPTION",
        escaped(
            f"{DESCRIPTION} A run is a folder with frames, a video and its settings; one that was "
            "stopped goes on with genrender resume. genrender COMMAND --help names the options of a "
            "command, --help-all explains them all."
        ),
        ".SH COMMANDS",
    ]
    for name, kind in COMMANDS.items():
        about = cleandoc(kind.__doc__ or "").split("Attributes:")[0].strip()
        lines += [f".SS genrender {name}"]
        for number, part in enumerate(about.split("\n\n")):
            lines += [*([".PP"] if number else []), escaped(part)]
        for _, options in options_of(kind):
            for form, told in options:
                lines += [".TP", f".B {escaped(form)}", escaped(told) or "\\&"]
    for title, rows in (("EXIT STATUS", EXIT_CODES), ("ENVIRONMENT", VARIABLES)):
        lines += [f".SH {title}"]
        for name, told in rows:
            lines += [".TP", f".B {escaped(name)}", escaped(told)]
    return "\n".join(lines) + "\n"


def main() -> None:
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(man_page(), encoding="utf-8")


if __name__ == "__main__":
    main()

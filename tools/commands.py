"""The commands that README and docs tell readers to type, as the pages have them.

    python tools/commands.py            # prints them all, with the page and the line

A block of code is one of commands if its first line begins with a program of `PROGRAMS`. The tests parse and
run what is found here, and `gallery.py` makes its pictures with it.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = (
    "genrender",
    "python",
    "pip",
    "make",
    "hf",
    "blender",
    "git",
    "cd",
    "openjd",
    ".",
    ".venv/bin/python",
)
_VARIABLE = re.compile(r"[A-Z_]+=\S*")
_SHELLS = ("", "sh", "bash", "shell", "console")


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        page: the file that it stands in, from the repository's root.
        line: the first line of its block, counted from 1.
        words: what the shell would make of it, without variables before it.
        variables: such as OMP_NUM_THREADS=1, before it.
    """

    page: str
    line: int
    words: tuple[str, ...]
    variables: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As one line."""
        return shlex.join(self.words)


def pages() -> list[Path]:
    """README and all pages of the docs."""
    told = ("README.md", "CONTRIBUTING.md", "AGENTS.md")
    return [*(ROOT / name for name in told), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Blocks of code without a language, or in a shell's: the line they begin at, and their text."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type in ("code_block", "fence") and token.info.strip() in _SHELLS and token.map:
            line = token.map[0] + 1
            # Indented blocks that follow each other are one for Markdown.
            for part in token.content.split("\n\n"):
                yield line, part.strip("\n")
                line += part.count("\n") + 2


def commands(page: Path) -> list[Command]:
    """The commands of a page, in its order.

    Raises:
        ValueError: a block of commands holds a line that is none.
    """
    found = []
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    for line, text in blocks(page):
        split = [_split(part) for part in text.replace("\\\n", " ").splitlines()]
        told = [(variables, words) for variables, words in split if words and words != ("...",)]
        if not told or told[0][1][0] not in PROGRAMS:
            continue
        for variables, words in told:
            if words[0] not in PROGRAMS and not words[0].startswith((".venv/bin/", "benchmarks/")):
                raise ValueError(
                    f"{name}:{line}: {words[0]!r} stands among commands and is none that is known"
                )
            found += [Command(name, line, part, variables) for part in _parts(words)]
    return found


def _split(line: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Variables and words; a line that no shell would read has none."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return (), ()
    n_variables = next((i for i, word in enumerate(words) if not _VARIABLE.fullmatch(word)), len(words))
    return tuple(words[:n_variables]), tuple(words[n_variables:])


def _parts(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Commands that `&&` joins, without what sends their output elsewhere."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return [tuple(_without_output(part)) for part in parts]


def _without_output(words: list[str]) -> list[str]:
    cut = next((i for i, word in enumerate(words) if word in (">", "|")), len(words))
    return words[:cut]


if __name__ == "__main__":
    for page in pages():
        for command in commands(page):
            print(f"{command.page}:{command.line}: {command.text}")

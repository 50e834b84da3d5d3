"""What the documentation site shows and no file holds: pages made of the code, when `make docs` builds it.

A hook of MkDocs. `index.md` is the README, `command_line.md` is what the options say of themselves,
`python.md` the docstrings of public names, `symptoms.md` what `genrender diagnose` looks for. They are made
at every build and not committed: so they cannot go stale, and who changes an option changes one file.
"""

import re
import warnings
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import tyro
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import genrender
from genrender.cli import COMMANDS, DESCRIPTION, FORMS
from genrender.evaluation.diagnose import Measurements, symptoms

ROOT = Path(__file__).resolve().parents[1]
# What the docs send readers to, beside the names that `import genrender` offers.
ROOMS = (
    "genrender.config",
    "genrender.gbuffer.gbuffer",
    "genrender.gbuffer.exr.frame",
    "genrender.scene.scene",
    "genrender.scene.camera",
    "genrender.shots.clip",
    "genrender.pipeline",
    "genrender.backbones.recipe",
    "genrender.backbones.protocol",
    "genrender.runs.record",
    "genrender.errors",
)
# In the order of `symptoms`: what a reader sees.
SEEN = {
    "flicker": "Colours and patterns change from frame to frame, though the surface does not.",
    "texture sticking": "The pattern stays where it is on the screen while the figure moves through it.",
    "blur": "Each frame is softer than a picture that the model paints alone.",
    "colour drift": "An object slowly turns another colour over the clip.",
}
_OUT_OF_DOCS = re.compile(r"\[([^\]]+)\]\((?:\.\./)+[^)]+\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made."""
    made = {
        "index.md": first_page(),
        "command_line.md": command_line(),
        "python.md": python(),
        "symptoms.md": symptom_page(),
    }
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Files of the repository that are no part of the site are named and not linked."""
    return _OUT_OF_DOCS.sub(r"\1", markdown)


def first_page() -> str:
    """The README, as a page of the site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("](docs/", "](").replace('src="docs/', 'src="')
    return re.sub(
        r"\[([^\]]+)\]\((?!https?:|#)((?:[A-Z]+(?:\.md)?)|(?:(?:examples|src|tests)/[^)]*))\)", r"\1", text
    )


def command_line() -> str:
    """Every command with every option."""
    parts = ["# Command line", DESCRIPTION, "The same is told by `genrender COMMAND --help-all`."]
    for name, kind in COMMANDS.items():
        about = cleandoc(kind.__doc__ or "").split("Attributes:")[0].strip()
        parts += [f"## genrender {name} {{ #{name} }}", about]
        for title, options in options_of(kind):
            rows = [f"| <code>{_cell(form)}</code> | {_cell(told)} |" for form, told in options]
            parts += [f"**{title}**", "| option | what it does |\n|---|---|\n" + "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def options_of(kind: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Groups of a command's options: a title, and of every option how it is typed and what it does."""
    with warnings.catch_warnings():
        # Its successor prints; what is wanted here are the options themselves.
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(kind, config=FORMS)
    for group in parser._action_groups:
        rows = []
        for action in group._group_actions:
            form = action.metavar or (f"{{{','.join(action.choices)}}}" if action.choices else "")
            if action.dest != "help":
                name = " ".join(filter(None, (", ".join(action.option_strings), str(form))))
                told = (action.help or "").replace("%%", "%")
                rows.append((name, told))
        if rows:
            yield (group.title or "options").removesuffix(" options").replace("-", " "), rows


def _cell(text: str) -> str:
    return (
        " ".join(text.split())
        .replace("|", "&#124;")
        .replace("<", "&lt;")
        .replace("*", "&#42;")
        .replace("_", "&#95;")
    )


def python() -> str:
    """The public names with their docstrings."""
    parts = ["# Python", "```python\nimport genrender\n```", "`genrender` offers these names:"]
    parts += [f"::: {place}.{name}" for name, place in sorted(genrender._PLACES.items())]  # pyright: ignore[reportAttributeAccessIssue]
    parts += ["## Rooms { #rooms }", "What else the docs send you to."]
    parts += [f"::: {room}" for room in ROOMS]
    return "\n\n".join(parts) + "\n"


def symptom_page() -> str:
    """What `genrender diagnose` finds, with its limits and remedies as the code has them."""
    found = symptoms(Measurements(*[float("nan")] * 7))
    parts = [
        "# When a video looks wrong",
        "    genrender diagnose RUN_DIR --reference PER_FRAME_RUN_DIR",
        "measures these and names what is there. The reference is a run of the same shot with "
        "`--method per-frame`; without it blur cannot be told.",
    ]
    for symptom in found:
        side = "below" if symptom.name in ("texture sticking", "blur") else "above"
        parts += [
            f"## {symptom.name.capitalize()}",
            SEEN[symptom.name],
            f"Found where the figure is {side} {symptom.limit:g}.",
            f"**What to do:** {symptom.remedy}.",
        ]
    return "\n\n".join(parts) + "\n"

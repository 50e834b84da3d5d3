"""Hundreds of mistakes at the command line: one clear line each, and the page of the docs has it."""

import ast
import re
from pathlib import Path

import pytest
from cli.broken_files import make_all
from cli.provocations import ERROR, answers, page

from genrender.errors import ConfigError, MediaError, ModelError, SceneError
from genrender.storage.checked_file import DamagedFile

ROOT = Path(__file__).resolve().parents[2]
for library in ("pxr", "alembic3d", "DracoPy", "compel", "peft", "matplotlib", "fastapi"):
    pytest.importorskip(library, reason=f"{library} is not installed")


@pytest.fixture(scope="module")
def answered(tmp_path_factory, model, scene, bare_scene):
    folder = tmp_path_factory.mktemp("mistakes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_all(folder, model, scene, bare_scene)
        return answers(folder)


def test_every_mistake_is_answered_in_one_line(answered):
    """That nothing is written is seen as they are made."""
    assert sum(map(len, answered.values())) > 250
    for answer in (one for group in answered.values() for one in group):
        lines = answer.err.splitlines()
        assert answer.code == 2, answer
        assert lines[-1].startswith(ERROR), answer
        assert not any(line.startswith(ERROR) for line in lines[:-1]), answer
        assert all(line.startswith("genrender: ") for line in lines), answer


def test_every_kind_of_error_is_among_them(answered):
    kinds = {one.kind for group in answered.values() for one in group}
    assert kinds == {SceneError, ConfigError, ModelError, MediaError, DamagedFile}


def test_the_page_says_what_is_answered(answered):
    """Where they differ on purpose: python tools/errors.py writes it anew."""
    assert page(answered).splitlines() == (ROOT / "docs" / "errors.md").read_text("utf-8").splitlines()


# What a message that tells no way out lacks: what was expected, or what to do.
VERBS = (
    "accept|add|allow|ask|bake|begin|cancel|change|check|choose|convert|copy|create|decimate|describe|export|free|get|give|go|"
    "install|join|leave|load|lock|log|look|lower|make|mend|move|name|number|open|own|pass|pip|put|raise|reinstall|"
    "remove|rename|render|restore|run|save|say|see|send|set|shorten|sort|split|steer|switch|take|thin|try|unload|update|use|"
    "wait|write"
)
WAY_OUT = re.compile(rf"expected|it has: |[;:,(] (?:or |and )?(?:{VERBS})\b|pip install")


def test_every_answer_says_what_to_do(answered):
    for answer in (one for group in answered.values() for one in group):
        assert WAY_OUT.search(answer.message), answer.message


def literal(node: ast.expr) -> str | None:
    """A text as it stands in the code, with dots for what is filled in; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(one.value if isinstance(one, ast.Constant) else "..." for one in node.values)
    return None


def test_every_message_in_the_code_says_what_to_do():
    """Those that end in what another function says have its way out."""
    found = 0
    for file in sorted((ROOT / "src" / "genrender").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
                continue
            name = ast.unparse(node.exc.func)
            text = literal(node.exc.args[0])
            if text is None or not re.search(r"(Scene|Config|Model|Media)Error$|\.error$", name):
                continue
            found += 1
            assert WAY_OUT.search(text) or re.search(r"\.\.\.\)?$", text), f"{file}:{node.lineno}: {text}"
    assert found > 400

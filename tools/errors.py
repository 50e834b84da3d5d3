"""Writes docs/errors.md: makes every mistake of tests/cli/provocations.py, and tells what genrender answers.

    python tools/errors.py

Needs what the tests need (`genrender[dev]`), and a minute.
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from cli.broken_files import make_all
    from cli.conftest import make_bare_card, make_card, make_model
    from cli.provocations import answers, page

    with tempfile.TemporaryDirectory() as scratch:
        given, folder = Path(scratch) / "given", Path(scratch) / "mistakes"
        given.mkdir()
        folder.mkdir()
        os.chdir(folder)
        model, card = make_model(given / "tiny"), make_card(given / "card.glb")
        make_all(folder, model, card, make_bare_card(given / "bare.glb"))
        text = page(answers(folder))
        os.chdir(ROOT)
    (ROOT / "docs" / "errors.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

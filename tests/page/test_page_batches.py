"""A batch that is sent to the server: shown as one in the gallery, and found again by the same command."""

import json

import pytest
from page.served_page import BIPED, until

from genrender.cli import main

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("finished")
def test_a_batch_is_shown_as_one(opened, served, tmp_path, capsys):
    line = {"scene": str(BIPED), "prompt": "a blue biped", "frames": 2, "steps": 1, "size": 64}
    file = tmp_path / "walks.jsonl"
    jobs = [{**line, "job": f"walk-{seed}", "seed": seed} for seed in range(2)]
    jobs[1]["out"] = str(tmp_path / "walk.mp4")
    file.write_text("\n".join(map(json.dumps, jobs)))
    command = ["batch", str(file), "--server", served.address]

    page = opened(f"{served.address}/#gallery")
    page.wait_for_selector(".run-card")
    assert page.locator(".batches").is_hidden()
    assert main(command) == 0
    said = capsys.readouterr()
    assert "jobs  2 of 2 done\n" in said.out
    assert (tmp_path / "walk.mp4").stat().st_size > 1000

    # The gallery that was open has followed it.
    button = page.get_by_role("button", name="walks")
    page.get_by_text("2 runs, all finished").wait_for()
    button.click()
    until(page, "document.querySelectorAll('.run-card').length === 2")
    assert button.get_attribute("aria-pressed") == "true"
    assert sorted(page.locator(".card-name").all_inner_texts()) == ["walk-0", "walk-1"]
    button.click()
    until(page, "document.querySelectorAll('.run-card').length > 2")

    # Again: nothing is left to do. A third line is sent alone, a changed one is refused.
    assert main(command) == 0
    assert "2 jobs, of which 2 are done already" in capsys.readouterr().err
    assert served.ask("GET", "batches") == {
        "batches": [{"name": "walks", "total": 2, "counts": {"finished": 2}}]
    }
    file.write_text(json.dumps({**jobs[0], "seed": 7}))
    assert main(command) == 2
    assert "line 1: the server has another run 'walk-0' in the batch 'walks'" in capsys.readouterr().err


def test_a_batch_is_checked_by_the_server_before_anything_is_sent(served, tmp_path, capsys):
    line = {"scene": str(BIPED), "prompt": "a blue biped", "frames": 2, "steps": 1, "size": 64}
    wrong = {
        "steps is 500, expected at most 200": {**line, "steps": 500},
        "a server makes renders alone, and this is a compare": {**line, "command": "compare"},
        "--only cannot be sent to a server": {**line, "only": "keyframes"},
        "scene file not found: none.glb": {**line, "scene": "none.glb"},
        "there is no option 'promt'": {"scene": str(BIPED), "promt": "x"},
    }
    first = ("a server makes", "--only", "there is no option")
    for told in ([text for text in wrong if text.startswith(first)], list(wrong)[::3]):
        file = tmp_path / "wrong.jsonl"
        file.write_text("\n".join(json.dumps(one) for one in (line, *(wrong[text] for text in told))))
        assert main(["batch", str(file), "--server", served.address]) == 2
        said = capsys.readouterr().err
        assert all(f"line {number}: {text}" in said for number, text in enumerate(told, start=2)), said
        assert "nothing was begun" in said
    assert all(batch["name"] != "wrong" for batch in served.ask("GET", "batches")["batches"])
    assert main(["batch", str(file), "--server", served.address, "--run-dir", "x"]) == 2
    assert main(["batch", str(file), "--name", "x"]) == 2

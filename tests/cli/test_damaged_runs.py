"""Runs whose files were changed, that cannot be written to, or that were killed while they tidied up."""

import os
import random
import shutil
from pathlib import Path

import pytest

from genrender.runs.folder import RunFolder
from genrender.sampling.store import RunStore

# Each takes a second or two; `DAMAGE_TRIALS=160 pytest tests/cli/test_damaged_runs.py` tries more.
N_TRIALS = int(os.environ.get("DAMAGE_TRIALS", "16"))


@pytest.fixture
def words(scene, model):
    options = ["--prompt", "a red fox", "--model", str(model), "--animation", "Rise", "--frames", "3"]
    return ["render", str(scene), *options, "--steps", "4", "--size", "64", "--preset", "fast"]


def damage(file: Path, kind: str, rng: random.Random) -> None:
    """Some bytes flipped or zeroed, or the end cut off."""
    content = bytearray(file.read_bytes())
    at = rng.randrange(len(content))
    if kind == "cut":
        del content[at:]
    elif kind == "zeros":
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    else:
        content[at] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def test_damage_is_mended_or_refused(call, words, tmp_path, monkeypatch):
    """Whatever file of a stopped run is damaged: the whole run's frames, or one clear line."""
    assert call(*words, "--run-dir", "whole").code == 0
    whole = RunFolder(tmp_path / "whole")
    expected = [file.read_bytes() for file in [*whole.frame_files(), whole.video_file]]
    commit = RunStore.commit

    def stops(self, generator):
        commit(self, generator)
        if self.step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(RunStore, "commit", stops)
        assert call(*words, "--run-dir", "run").code == 130
    (tmp_path / "run").rename(tmp_path / "kept")
    files = sorted(file.name for file in (tmp_path / "kept" / "unfinished").iterdir())
    rng, codes = random.Random(0), {}
    for trial in range(N_TRIALS):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(tmp_path / "kept", tmp_path / "run")
        name, kind = files[trial % len(files)], ("flip", "zeros", "cut")[trial // len(files) % 3]
        damage(tmp_path / "run" / "unfinished" / name, kind, rng)
        result = call("resume", "run")
        codes.setdefault(name, set()).add(result.code)
        if result.code == 0:
            run = RunFolder(tmp_path / "run")
            found = [file.read_bytes() for file in [*run.frame_files(), run.video_file]]
            assert found == expected, (name, kind)
            assert run.appearance_file.read_bytes()[:2] == b"PK"
        else:
            assert result.code == 2, (name, kind, result.err)
            assert "render the run again" in result.err.splitlines()[-1], (name, kind, result.err)
    # What is found again is no reason to refuse; what counts and cannot be found again is.
    for name in ("gbuffers.bin", "control_depth.bin", "outputs.bin", "latents-0.bin", "seconds.bin"):
        assert codes[name] == {0}, name
    for name in ("state.pt", "latents-1.bin", "request.json"):
        assert 2 in codes[name], name


def test_a_frame_that_is_no_file_is_told(call, words, tmp_path):
    """Found by benchmarks/reliability.py: links to a folder and to what never ends."""
    assert call(*words, "--run-dir", "run").code == 0
    frame = RunFolder(tmp_path / "run").frame_files()[1]
    for target in ("..", "/dev/zero"):
        frame.unlink()
        frame.symlink_to(target)
        result = call("finish", "run", "--also", "alpha")
        assert result.code == 2
        assert f"cannot read run/frames/{frame.name}: it is no ordinary file" in result.err
        assert not (tmp_path / "run" / "finishing").exists()


def state_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_reading_a_run_writes_nothing_and_resume_tidies_up(call, words, tmp_path, monkeypatch):
    assert call(*words, "--run-dir", "run").code == 0
    run = tmp_path / "run"
    assert call("evaluate", "run").code == 0
    before = state_of(run)
    for command in (["evaluate", "run"], ["diagnose", "run"], ["diagnose", "run", "--reference", "run"]):
        assert call(*command).code == 0
        assert state_of(run) == before, command
    assert call(*words, "--run-dir", "other", "--appearance-from", "run").code == 0
    assert state_of(run) == before
    touch = Path.touch

    def refused(self, *args, **named):
        if self.parent.name == "run":
            raise OSError(30, "Read-only file system")
        touch(self, *args, **named)

    (run / "metrics.json").unlink()
    with monkeypatch.context() as read_only:
        read_only.setattr(Path, "touch", refused)
        result = call("evaluate", "run")
    assert result.code == 0, result.err
    assert "the figures are not stored: cannot write" in result.err
    assert "Read-only file system" in result.err
    assert "colour change of equal surface points" in result.out.lower()

    # A kill while `unfinished/` is being removed, another while a file was written, a third in a probe.
    (run / "unfinished").mkdir()
    (run / "unfinished" / "latents-0.bin").write_bytes(b"left")
    (run / ".config.0123abcd.part.json").write_bytes(b"half")
    (run / ".0123abcd.probe").write_bytes(b"")
    result = call("resume", "run")
    assert (result.code, "is finished already" in result.err) == (0, True)
    assert {file.name for file in run.iterdir()} == {
        *("appearance.npz", "config.json", "contact_sheet.png", "frames", "video.mp4")
    }

"""Installs the extension from its zip, as a user would, and makes one video that the tests share."""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

if "GENRENDER_PYTHON" in os.environ:
    import bpy
    import character

    ROOT = Path(__file__).parents[3]
    SOURCE = ROOT / "integrations" / "blender"
    MODULE = "bl_ext.user_default.genrender"
    # No test waits longer for anything.
    PATIENCE_S = 240

    def extension_tool(*words: str | Path) -> str:
        """Blender's own program that builds and checks extensions; what it says."""
        (folder,) = [
            path for path in bpy.utils.script_paths(subdir="addons_core") if (Path(path) / "bl_pkg").is_dir()
        ]
        command = [sys.executable, Path(folder) / "bl_pkg" / "cli" / "blender_ext.py", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @pytest.fixture(scope="session")
    def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The extension's zip."""
        file = tmp_path_factory.mktemp("package") / "genrender.zip"
        extension_tool("build", "--source-dir", SOURCE, "--output-filepath", file)
        return file

    @pytest.fixture(scope="session")
    def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A folder like the engine's environment, with a blank in its name; the program is that of .venv."""
        folder = tmp_path_factory.mktemp("my engine") / "bin"
        folder.mkdir()
        program = folder / "genrender"
        python = os.environ["GENRENDER_PYTHON"]
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT / "src"}" exec "{python}" -m genrender "$@"\n')
        program.chmod(0o755)
        return folder.parent

    @pytest.fixture(scope="session")
    def extension(package: Path, engine: Path) -> SimpleNamespace:
        """The extension's modules, installed and enabled; the engine stands in its preferences."""
        bpy.ops.extensions.package_install_files(
            filepath=str(package), repo="user_default", enable_on_install=True
        )
        assert MODULE in bpy.context.preferences.addons
        names = ("ask", "engine", "install", "installing", "job", "panel", "preferences", "results", "watch")
        modules = {name: importlib.import_module(f"{MODULE}.{name}") for name in names}
        bpy.context.preferences.addons[MODULE].preferences.engine = str(engine)
        return SimpleNamespace(**modules)

    @pytest.fixture(scope="session")
    def wait(extension: SimpleNamespace) -> Callable[..., Any]:
        """Looks at the job until it ends, or something is so: without a window, no timer of Blender runs."""

        def look(until: Callable[[Any], bool] = lambda _job: False) -> Any:
            job = extension.watch.watch.job
            end = time.monotonic() + PATIENCE_S
            while job.is_under_way and not until(job):
                assert time.monotonic() < end, (job.work, job.done, job.total)
                extension.watch.tick()
                time.sleep(0.05)
            return job

        return look

    @pytest.fixture
    def scene(extension: SimpleNamespace, tmp_path: Path) -> Iterator[bpy.types.Scene]:
        """The shared video's scene, saved anew in a folder of its own."""
        made = character.make_scene()
        character.set_up(made)
        character.save(tmp_path / "Ordner mit ä")
        yield made
        extension.watch.watch.cancel()

    @pytest.fixture(scope="session")
    def finished(wait: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
        """One video from the button to the sequencer: its job, the saved file, and the frames."""
        character.set_up(character.make_scene())
        file = character.save(tmp_path_factory.mktemp("Ordner mit ä"))
        assert bpy.ops.genrender.generate() == {"FINISHED"}
        job = wait()
        assert job.is_done, job.error
        character.save(file.parent, file.name)
        return SimpleNamespace(job=job, file=file, frames=frames_of(job.folder))

    def frames_of(folder: Path) -> list[bytes]:
        """The files of a job's frames, in order."""
        return [file.read_bytes() for file in sorted((folder / "run" / "frames").glob("*.png"))]

"""The engine is installed by real environments and pip, from a wheel of a small program of its name."""

import shutil
import time
import zipfile
from pathlib import Path

import bpy
import pytest
from conftest import MODULE, PATIENCE_S, ROOT


def wheel(folder: Path, version: str) -> Path:
    """A wheel of a genrender that can say its version and needs nothing."""
    file, record = folder / f"genrender-{version}-py3-none-any.whl", f"genrender-{version}.dist-info"
    files = {
        "genrender/__main__.py": f"print('genrender {version}')\n",
        f"{record}/METADATA": f"Metadata-Version: 2.1\nName: genrender\nVersion: {version}\n"
        + "".join(f"Provides-Extra: {extra}\n" for extra in ("lora", "prompts", "usd")),
        f"{record}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{record}/RECORD", "".join(f"{name},,\n" for name in (*files, f"{record}/RECORD")))
    return file


@pytest.fixture
def settings(extension, monkeypatch):
    """The preferences, without an engine of the user's, without a network, and with an empty folder."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))  # another genrender, without what it needs
    settings = bpy.context.preferences.addons[MODULE].preferences
    told, settings.engine = settings.engine, ""
    shutil.rmtree(extension.installing.engine_folder(), ignore_errors=True)
    yield settings
    extension.installing.installing.cancel()
    settings.engine, settings.source = told, ""


def installed(extension, until=lambda _install: False):
    """Installs, as Blender's timer would, until it ends or something is so."""
    assert bpy.ops.genrender.install_engine() == {"FINISHED"}
    install = extension.installing.installing.install
    end = time.monotonic() + PATIENCE_S
    while install.is_under_way and not until(install):
        assert time.monotonic() < end, install.work
        extension.installing.tick()
        time.sleep(0.05)
    return install


def test_without_a_network_an_index_is_refused_before_anything_is_begun(extension, settings):
    folder = extension.installing.engine_folder()
    for settings.source in ("", "https://example.org/simple"):
        with pytest.raises(RuntimeError, match="may not use the network: allow it in Preferences"):
            bpy.ops.genrender.install_engine()
    settings.source = "/no/such/folder"
    with pytest.raises(RuntimeError, match="no package index, folder or wheel at /no/such/folder"):
        bpy.ops.genrender.install_engine()
    assert not (folder / "version").exists()


def test_failure_cancel_success_and_another_version(extension, settings, tmp_path):
    folder, find = extension.installing.engine_folder(), extension.preferences.engine_of
    version = extension.engine.wanted_version()
    # The wrong version alone: pip's own words, and an engine that is not whole.
    other = wheel(tmp_path, "0.0.1")
    settings.source = str(tmp_path)
    install = installed(extension)
    assert "No matching distribution found for genrender" in install.error
    assert str(folder / "log.txt") in install.error
    assert (folder / "version").read_text() == "incomplete"
    with pytest.raises(extension.engine.EngineError, match="not installed to the end: install it again"):
        find(bpy.context)
    with pytest.raises(RuntimeError, match="not installed to the end"):
        bpy.ops.genrender.generate()

    install = installed(extension, until=lambda install: install.work == "making an environment")
    assert bpy.ops.genrender.cancel_install() == {"FINISHED"}
    assert install.is_cancelled
    assert (folder / "version").read_text() == "incomplete"

    other.unlink()
    settings.source = str(wheel(tmp_path, version))
    install = installed(extension)
    assert install.is_done, install.error
    (environment,) = folder.glob("env-*")
    assert (folder / "version").read_text() == f"{version} {environment.name}"
    engine = find(bpy.context)
    assert (engine.where, Path(engine.command[0]).parent.parent) == ("the add-on", environment)

    # After an update of the add-on, and after Blender's Python has gone.
    (folder / "version").write_text(f"0.0.1 {environment.name}")
    with pytest.raises(
        extension.engine.EngineError, match=rf"genrender 0.0.1, expected {version}: install it again"
    ):
        find(bpy.context)
    (folder / "version").write_text(f"{version} {environment.name}")
    (environment / "bin" / "python").unlink()
    with pytest.raises(extension.engine.EngineError, match="Python is gone"):
        find(bpy.context)


def test_the_engine_has_the_version_of_the_extension(extension):
    source = ROOT / "src" / "genrender" / "__init__.py"
    assert f'__version__ = "{extension.engine.wanted_version()}"' in source.read_text(encoding="utf-8")


def test_lines_of_pip_are_understood(extension):
    def work(line):
        event = extension.install.pip_event(line)
        return event and event["work"]

    assert work("Collecting torch>=2.6 (from genrender==0.1.0)\n") == "finding packages: torch"
    name = "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    assert work(f"Downloading {name} (526.6 MB)\n") == "downloading torch 2.13.0, 526.6 MB"
    assert work(f"  Using cached {name}.metadata (31 kB)\n") is None
    assert work("Installing collected packages: mpmath, zipp, torch\n") == "unpacking 3 packages"
    assert work("Requirement already satisfied: pip\n") is None

"""What `import genrender` offers, and that it costs nothing until it is asked for."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import genrender


@pytest.mark.parametrize("name", sorted(genrender._PLACES))
def test_each_public_name_is_the_one_of_its_module(name):
    assert getattr(genrender, name) is getattr(import_module(genrender._PLACES[name]), name)
    assert name in dir(genrender)


def test_the_import_loads_neither_pytorch_nor_numpy():
    program = "import sys, genrender; print(sorted({'torch', 'numpy', 'diffusers'} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="has no attribute 'load_film'"):
        _ = genrender.load_film


def test_type_checkers_are_told_the_same_places():
    stub = ast.parse(Path(genrender.__file__).with_suffix(".pyi").read_text())
    told = {
        alias.asname: line.module
        for line in stub.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
    assert told == genrender._PLACES

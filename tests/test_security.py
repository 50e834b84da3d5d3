"""What docs/security.md promises of the code as a whole, and of files that were made to do harm."""

import ast
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import genrender
from genrender.backbones.embeddings import read_embedding
from genrender.backbones.file_networks import read_weights
from genrender.errors import GenRenderError
from genrender.sampling.store import STATE_FILE, n_steps_done
from genrender.storage.checked_file import DamagedFile, write_checked

SOURCES = sorted(Path(genrender.__file__).parent.rglob("*.py"))
# Calls that run what they are given, or words of somebody else's.
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path", "marshal.loads"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "shelve.open", "yaml.load", "yaml.unsafe_load"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
}
PROCESSES = {"subprocess.Popen", "subprocess.run", "subprocess.call", "subprocess.check_call"} | {
    "subprocess.check_output"
}


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call):
                yield f"{source.name}:{node.lineno}", ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == name), None)


def test_no_code_is_made_of_data():
    assert len(SOURCES) > 100
    assert [(where, name) for where, name, _ in calls() if name in FORBIDDEN] == []


def test_other_processes_get_a_list_of_words_and_no_shell():
    found = [(where, call) for where, name, call in calls() if name in PROCESSES]
    assert found
    for where, call in found:
        assert keyword(call, "shell") is None, where
        assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr), where


def test_pickles_are_read_as_data_and_models_bring_no_code():
    loads = [(where, call) for where, name, call in calls() if name == "torch.load"]
    assert loads
    assert [where for where, call in loads if keyword(call, "weights_only") != "True"] == []
    assert [
        where for where, _, call in calls() if keyword(call, "trust_remote_code") not in (None, "False")
    ] == []
    arrays = [(where, call) for where, name, call in calls() if name in ("np.load", "numpy.load")]
    assert [where for where, call in arrays if keyword(call, "allow_pickle") not in (None, "False")] == []


@pytest.mark.parametrize("is_zipped", [True, False])
def test_a_harmful_pickle_does_no_harm_even_where_pickles_are_allowed(tmp_path, is_zipped):
    harmed, file = tmp_path / "harmed", tmp_path / "ink.pt"
    harm = {"emb_params": Harm(harmed)}
    if is_zipped:
        torch.save(harm, file)
    else:
        file.write_bytes(pickle.dumps(harm))
    for allow_pickle in (False, True):
        with pytest.raises(GenRenderError, match=r"pickle|cannot be read"):
            read_embedding(str(file), allow_pickle)
    # PyTorch maps files of its own form alone into memory.
    with pytest.raises(
        (pickle.UnpicklingError, RuntimeError), match=r"Weights only load failed|mmap can only"
    ):
        read_weights(file)
    assert not harmed.exists()
    torch.load(file, weights_only=False) if is_zipped else pickle.loads(file.read_bytes())
    assert harmed.exists()  # so it would have


def test_a_harmful_state_of_a_run_does_no_harm(tmp_path):
    harmed, content = tmp_path / "harmed", io.BytesIO()
    torch.save({"step": Harm(harmed)}, content)
    write_checked(tmp_path / STATE_FILE, content.getbuffer())
    with pytest.raises(DamagedFile):
        n_steps_done(tmp_path)
    assert not harmed.exists()

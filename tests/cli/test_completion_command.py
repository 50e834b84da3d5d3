"""What shells complete is what the command line knows."""

import shutil
import subprocess

import pytest

from genrender.cli import COMMANDS


def completed(script: str, *words: str) -> set[str]:
    """What bash offers for the last word."""
    line = " ".join(words)
    ask = (
        f"{script}\nCOMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; "
        f"COMP_LINE={line!r}; COMP_POINT={len(line)}\n"
        "_tyro_genrender; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    answer = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    return {word.strip() for word in answer.stdout.splitlines()}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_choices(call):
    result = call("completion", "bash")
    assert result.code == 0
    assert set(COMMANDS) <= completed(result.out, "genrender", "")
    assert completed(result.out, "genrender", "res") == {"resume"}
    assert {"--prompt", "--frames", "--lora"} <= completed(result.out, "genrender", "render", "--")
    assert {"none", "ground"} <= completed(result.out, "genrender", "preview", "--backdrop", "")


@pytest.mark.parametrize(
    ("shell", "begin"), [("zsh", "#compdef genrender"), ("fish", "complete --no-files --command")]
)
def test_other_shells_get_every_command(call, shell, begin):
    out = call("completion", shell).out
    assert begin in out
    assert all(command in out for command in COMMANDS)

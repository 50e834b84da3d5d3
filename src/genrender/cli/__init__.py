"""The command line `genrender`.

Exit codes: 0, everything done; 1, `inspect` found what keeps files from being rendered, or some jobs of a
`batch` have failed; 2, a mistake that the user can mend, told in one line on stderr; 130, interrupted; 141,
nobody reads the output; 143, terminated. Results go to stdout, everything else to stderr.
"""

import io
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import field, fields, make_dataclass
from functools import reduce
from inspect import cleandoc
from operator import or_
from typing import Annotated, Any

import tyro

import genrender
from genrender.cli.console import note, tell_error
from genrender.errors import INTERRUPTED, TERMINATED, GenRenderError, MediaError, Terminated
from genrender.options.commands import (
    Batch,
    Compare,
    Completion,
    Diagnose,
    Evaluate,
    Finish,
    Gbuffers,
    Inspect,
    Join,
    Passes,
    Preview,
    Render,
    Resume,
    Study,
    Unwrap,
    Verify,
)
from genrender.options.given import check_given, check_run_dir
from genrender.options.groups import FOLDED
from genrender.options.serving import Jobs, Serve, Submit
from genrender.options.train import Train
from genrender.storage.untrusted import shown

# Words of a command line, as tyro may form them of fields.
FORMS = (
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.DisallowNone,
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.OmitArgPrefixes,
)
# Explains every option; `--help` of a command only names those that few need.
ALL_HELP = "--help-all"
DESCRIPTION = "An animated 3D scene and a sentence in, a temporally consistent video out."


COMMANDS: dict[str, type] = {
    "render": Render,
    "resume": Resume,
    "finish": Finish,
    "join": Join,
    "compare": Compare,
    "study": Study,
    "batch": Batch,
    "gbuffers": Gbuffers,
    "passes": Passes,
    "preview": Preview,
    "unwrap": Unwrap,
    "inspect": Inspect,
    "verify": Verify,
    "evaluate": Evaluate,
    "diagnose": Diagnose,
    "train": Train,
    "serve": Serve,
    "submit": Submit,
    "jobs": Jobs,
    "completion": Completion,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words after `genrender`; None takes this process's own.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What the terminal's encoding lacks is spelled out. Lines are written when they are whole, into
            # pipes as well: a log has the page's address while the page is open.
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        code = _answer(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has enough of it, as `genrender inspect ... | head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _answer(words: list[str]) -> int:
    if words == ["--version"]:
        print(genrender.__version__)
        return 0
    try:
        command = parse(words)
    except SystemExit as exit_request:
        return int(exit_request.code or 0)
    try:
        with _third_parties_quiet(command.debug):
            check_given(command)
            return _run(command, ["genrender", *words])
    except GenRenderError as error:
        if command.debug:
            raise
        text = " ".join(str(error).splitlines())
        match getattr(getattr(command, "extras", command), "progress", "bars"):
            case "json":
                from genrender.cli import json_lines  # it knows plans, which take half a second to import

                json_lines.tell("error", text=text)
            case "openjd":
                print(f"openjd_fail: {shown(text)}")
        tell_error(text)
        return 2
    except KeyboardInterrupt as stop:
        is_term = isinstance(stop, Terminated)
        note("terminated" if is_term else "interrupted")
        return TERMINATED if is_term else INTERRUPTED


def parse(words: Sequence[str]) -> Any:
    """The command that these words ask for. Where there is none, says why and raises SystemExit."""
    safe = [shown(word) for word in words]
    try:
        return _parse(words, is_quiet=safe != list(words))
    except SystemExit:
        # Its message repeats words; those that would steer the terminal are spelled out.
        if safe != list(words):
            _parse(safe)
        raise


def _parse(words: Sequence[str], is_quiet: bool = False) -> Any:
    name, rest = (words[0], list(words[1:])) if words and words[0] in COMMANDS else ("", list(words))
    kind, description = _shown(COMMANDS[name], words) if name else (_commands(), DESCRIPTION)
    return tyro.cli(
        kind,
        prog=f"genrender {name}".strip(),
        description=description,
        args=["--help" if word == ALL_HELP else word for word in rest],
        config=FORMS,
        console_outputs=not is_quiet,
    )


def _commands() -> Any:
    """All commands, for whatever is said before one of them is named."""
    choices: Any = (
        Annotated[command, tyro.conf.subcommand(name)]  # pyright: ignore[reportInvalidTypeForm] (made here)
        for name, command in COMMANDS.items()
    )
    return reduce(or_, choices)


def _shown(command: type, words: Sequence[str]) -> tuple[Any, str]:
    """The command and what it does; in `--help` groups of options that few need are only named."""
    about = cleandoc(command.__doc__ or "").split("Attributes:")[0].strip()
    folded = [(one, group) for one in fields(command) for group in FOLDED if one.type is group]
    if folded and ALL_HELP not in words and any(word in ("--help", "-h") for word in words):
        flags = (f"--{part.name.replace('_', '-')}" for _, group in folded for part in fields(group))
        width = min(100, shutil.get_terminal_size().columns)
        more = textwrap.fill(f"See {ALL_HELP} for {', '.join(flags)}.", width, break_on_hyphens=False)
        about = f"{about}\n\n{more}"
        hidden = [
            (one.name, tyro.conf.Suppress[group], field(default_factory=group)) for one, group in folded
        ]
        command = make_dataclass(command.__name__, hidden, bases=(command,), frozen=True)
    return command, about


def _run(command: Any, words: list[str]) -> int:
    # Each command imports what it needs when it runs: PyTorch alone takes seconds.
    match command:
        case Serve():
            from genrender.cli.serve import serve

            serve(command)
        case Submit():  # before what it is a kind of
            from genrender.cli.submit import submit

            submit(command)
        case Jobs():
            from genrender.cli.submit import jobs

            jobs(command)
        case Compare():
            from genrender.cli.compare import compare

            compare(command)
        case Render():
            from genrender.cli.render import render

            render(command, words)
        case Resume():
            from genrender.cli.resume import resume

            resume(command, _job_of_words)
        case Join():
            from genrender.cli.join import join

            join(command)
        case Finish():
            check_run_dir(command.run_dir)
            from genrender.cli.finish import finish

            finish(command)
        case Gbuffers():
            from genrender.cli.gbuffers import gbuffers

            gbuffers(command)
        case Passes():
            from genrender.cli.passes import passes

            passes(command)
        case Preview():
            from genrender.cli.preview import preview

            preview(command)
        case Unwrap():
            from genrender.cli.unwrap import unwrap_file

            unwrap_file(command)
        case Inspect():
            from genrender.cli.inspect import inspect

            return inspect(command)
        case Verify():
            from genrender.cli.verify import verify

            verify(command)
        case Study():
            from genrender.cli.study import study

            study(command)
        case Batch():
            from genrender.cli.batch import batch

            return batch(command)
        case Evaluate():
            check_run_dir(command.run_dir)
            from genrender.cli.evaluate import evaluate

            evaluate(command)
        case Diagnose():
            check_run_dir(command.run_dir)
            from genrender.cli.diagnose import diagnose

            diagnose(command)
        case Train():
            from genrender.cli.train import train

            train(command, words)
        case Completion():
            print(_completion(command.shell))
    return 0


def _completion(shell: str) -> str:
    """The script that makes a shell complete this command line; made by tyro of all options."""
    script = io.StringIO()
    with redirect_stdout(script), suppress(SystemExit):
        tyro.cli(_commands(), prog="genrender", args=["--tyro-print-completion", shell], config=FORMS)
    return script.getvalue()


def _job_of_words(words: Sequence[str]) -> Any:
    """The job of a whole command line."""
    from genrender.options.job import render_job

    try:
        command = parse(words[1:])
    except SystemExit as error:
        raise MediaError(
            "it was begun by a command that this version does not know; render it again"
        ) from error
    if not isinstance(command, Render) or isinstance(command, Submit):
        raise MediaError("it was not begun by a render; render it again")
    return render_job(command)


@contextmanager
def _third_parties_quiet(is_debug: bool) -> Iterator[None]:
    """Keeps messages that are about a library's insides and not about the user's request off the screen."""
    if is_debug:
        yield
        return
    for variable in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(variable, "error")  # read when the libraries are imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

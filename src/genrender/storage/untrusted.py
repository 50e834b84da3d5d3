"""What users and files say, before anything believes it: bounded, valid Unicode, finite, fit to be shown.

Readers take files, JSON and names through here; the command line takes its words; whatever is printed goes
through `shown`. Library calls that read foreign bytes stand in a `library_errors` block.
"""

import errno
import json
import math
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genrender.errors import GenRenderError, first_line

ErrorKind = Callable[[str], GenRenderError]

# Settings, cameras and records of runs are far smaller; JSON takes many times its size as objects.
MAX_JSON_BYTES = 2**26
# Beyond this no text encoder reads, and no screen shows.
MAX_TEXT_LENGTH = 10_000
MAX_NAME_LENGTH = 1_000
# What file systems take: a name, and a whole path.
MAX_FILE_NAME_BYTES, MAX_PATH_BYTES = 255, 4095
# Names of Windows' devices, which no file can have there, whatever follows the first dot.
DEVICE_NAME = re.compile(r"^(con|prn|aux|nul|conin\$|conout\$|com\d|lpt\d)(\..*)?$", re.IGNORECASE)
MAX_WHOLE_NUMBER = 2**63 - 1
SHOWN_LENGTH = 80

# What a reader or a decoder raises on bytes that it does not understand; bindings to C++ raise these, too.
LIBRARY_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


# Files


def read_bytes(path: Path, error: ErrorKind, max_bytes: int, remedy: str) -> bytes:
    """The bytes of a file; devices and pipes, which may never end, are none.

    Raises:
        GenRenderError: of the kind `error`: it has more than `max_bytes`; `remedy` says what to do then.
        OSError: it cannot be read, or is no ordinary file.
    """
    n_bytes = ordinary_size(path)
    check_size(path.name, n_bytes, error, max_bytes, remedy)
    with path.open("rb") as file:
        data = file.read(n_bytes + 1)
        # It may be growing; files of the system say that they are empty.
        while len(data) > n_bytes and (more := file.read(2**20)):
            data += more
            check_size(path.name, len(data), error, max_bytes, remedy)
    return data


def ordinary_size(path: Path) -> int:
    """How many bytes a file has; devices and pipes, which may never end, and folders have none.

    Raises:
        OSError: it cannot be looked at, or is no ordinary file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        is_folder = stat.S_ISDIR(status.st_mode)
        raise OSError(errno.EISDIR if is_folder else errno.EINVAL, "it is no ordinary file")
    return status.st_size


def ordinary_bytes(path: Path) -> bytes:
    """All bytes of a file of our own, which may be large.

    Raises:
        OSError: it cannot be read, or is no ordinary file.
    """
    ordinary_size(path)
    return path.read_bytes()


def check_size(where: str, n_bytes: int, error: ErrorKind, max_bytes: int, remedy: str) -> None:
    """Raises the error for more bytes than there may be."""
    if n_bytes > max_bytes:
        raise error(
            f"{where}: has {n_bytes / 1e6:,.0f} MB, expected at most {max_bytes / 1e6:,.0f} MB; {remedy}"
        )


def read_json(path: Path, error: ErrorKind, expected: str, allow_infinity: bool = False) -> Any:
    """What a JSON file holds.

    Args:
        error: raised for what `parse_json` refuses, and for what cannot be read or is too large.
        expected: what the file should be, for the message.
        allow_infinity: read Infinity and NaN, too, which earlier versions wrote although they are no JSON.

    Raises:
        FileNotFoundError: there is none.
    """
    try:
        data = read_bytes(path, error, MAX_JSON_BYTES, f"expected {expected}")
    except (GenRenderError, FileNotFoundError):
        raise
    except OSError as reason:
        raise error(f"cannot read {path}: {reason.strerror or reason}; expected {expected}") from reason
    try:
        return parse_json(data, allow_infinity)
    except ValueError as reason:
        raise error(f"{path}: {reason}; expected {expected}") from None


def parse_json(data: bytes | str, allow_infinity: bool = False) -> Any:
    """JSON with valid Unicode in all texts and float64's numbers alone; Infinity and NaN where allowed.

    Raises:
        ValueError: it is no JSON, nested too deeply, or a number is too large.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        content = json.loads(
            text,
            parse_constant=float if allow_infinity else _refuse_constant,
            parse_int=_whole_number,
            parse_float=_finite_number,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        found = error.doc[error.pos : error.pos + 20].split("\n")[0]
        raise ValueError(
            f"its JSON cannot be read in line {error.lineno}, column {error.colno}: {error.msg}, "
            f"found {found!r}"
        ) from None
    # Half a surrogate pair comes from an escape alone, and escapes are rare.
    return with_valid_texts(content) if re.search(r"\\u[dD][89a-fA-F]", text) else content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _whole_number(digits: str) -> int:
    if len(digits) > 309 or math.isinf(float(digits)):
        raise ValueError(f"the number {digits[:12]}... is too large")
    return int(digits)


def _finite_number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def with_valid_texts(value: Any) -> Any:
    """What JSON can hold, with all texts and keys as `valid_text` makes them."""
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, list | tuple):
        return [with_valid_texts(item) for item in value]
    if isinstance(value, dict):
        return {with_valid_texts(key): with_valid_texts(item) for key, item in value.items()}
    return value


def json_text(value: Any, default: Callable[[Any], Any] | None = None, indent: int | None = 2) -> str:
    """Strict JSON, whatever texts and numbers there are: numbers that it lacks are texts such as "-Infinity".

    Args:
        value: what JSON can hold.
        default: makes that of other values.
        indent: None: all in one line.
    """
    plain = _with_finite_numbers(with_valid_texts(value))
    return json.dumps(plain, indent=indent, default=default, allow_nan=False)


def _with_finite_numbers(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return [_with_finite_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_finite_numbers(item) for key, item in value.items()}
    return value


# Text


def valid_text(text: str) -> str:
    """The text as Unicode: broken bytes and halves of surrogate pairs become U+FFFD.

    Example:
        >>> valid_text("fox\\udcff")
        'fox\ufffd'
    """
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def valid_name(text: object) -> str:
    """A name that a file gives to something: valid Unicode of at most `MAX_NAME_LENGTH` characters."""
    return valid_text(str(text))[:MAX_NAME_LENGTH]


def shown(text: object, max_length: int | None = None) -> str:
    """Text in one line as a screen may show it: what would steer the terminal or the order is spelled out.

    Args:
        max_length: longer text is cut, with an ellipsis; None: never.

    Example:
        >>> shown("red\\x1b[2Jfox")
        'red\\\\x1b[2Jfox'
    """
    line = "".join(map(_visible, valid_text(str(text))))
    return line if max_length is None or len(line) <= max_length else line[: max_length - 1] + "…"


def _visible(character: str) -> str:
    # Control characters, marks of direction and other formats, separators of lines and paragraphs.
    # Joiners hold emoji and scripts such as Persian together.
    is_harmless = unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Cs")
    if is_harmless or character in "\u200c\u200d":
        return character
    return character.encode("unicode_escape").decode()


def check_text(name: str, text: str, error: ErrorKind, max_length: int = MAX_TEXT_LENGTH) -> None:
    """Raises the error for a text that is too long, or that holds bytes which are no Unicode."""
    if len(text) > max_length:
        raise error(f"{name} has {len(text):,} characters, expected at most {max_length:,}: shorten it")
    if valid_text(text) != text:
        raise error(f"{name} is '{shown(text, SHOWN_LENGTH)}', which is no valid text: give it in UTF-8")
    if "\0" in text:
        raise error(f"{name} is '{shown(text, SHOWN_LENGTH)}', expected text without null characters")


def check_path(name: str, path: Path, error: ErrorKind) -> None:
    """Raises the error for a path that no file system takes; whether there is a file is not asked."""
    text = str(path)
    if "\0" in text:
        raise error(f"{name} is '{shown(text, SHOWN_LENGTH)}', expected a path without null characters")
    parts = [
        ("a path", text, MAX_PATH_BYTES),
        *(("a name", part, MAX_FILE_NAME_BYTES) for part in path.parts),
    ]
    for what, part, limit in parts:
        try:
            n_bytes = len(os.fsencode(part))
        except UnicodeEncodeError:
            raise error(
                f"{name} is '{shown(text, SHOWN_LENGTH)}', which is no valid text: give it in UTF-8"
            ) from None
        if n_bytes > limit:
            raise error(
                f"{name} has {what} of {n_bytes:,} bytes ({shown(part, 24)}), expected at most {limit:,}: "
                "file systems take no more"
            )


def file_name(text: str) -> str:
    """A text as part of a file's or folder's name, on every system: without separators, stars and the like.

    It leaves 64 of the bytes that a name may have for what else stands in it.

    Example:
        >>> file_name('wave_*: "up/down"')
        'wave_up_down'
        >>> file_name("con.01")
        'con_.01'
    """
    plain = re.sub(r'[\s<>:"/\\|?*\[\]]+', "_", "".join(c for c in valid_text(text) if c.isprintable()))
    plain = re.sub(r"_+", "_", plain).strip("_. ")
    plain = DEVICE_NAME.sub(r"\1_\2", plain)
    return plain.encode()[: MAX_FILE_NAME_BYTES - 64].decode("utf-8", "ignore")


# Numbers


def check_number(name: str, number: float, error: ErrorKind) -> None:
    """Raises the error for what is not finite, and for whole numbers that 64 bits do not hold."""
    if isinstance(number, int):
        if abs(number) > MAX_WHOLE_NUMBER:
            digits = len(str(abs(number)) if abs(number) < 10**1000 else "") or "more than 1,000"
            raise error(f"{name} is a number of {digits} digits, expected one below 2**63")
    elif not math.isfinite(number):
        raise error(f"{name} is {number:g}, expected a finite number")


# Libraries


@contextmanager
def library_errors(
    where: str,
    error: ErrorKind,
    remedy: str,
    kinds: type[Exception] | tuple[type[Exception], ...] = LIBRARY_ERRORS,
) -> Iterator[None]:
    """Tells what a library raises on foreign data in one line; for its calls alone, not for our own code.

    Args:
        where: what was read, for instance the file's name.
        error: the kind of error to raise instead.
        remedy: what to do about it.
        kinds: what the library is known to raise; `Exception` for one that has errors of its own.
    """
    try:
        yield
    except GenRenderError:
        raise
    except kinds as reason:
        told = shown(first_line(reason), 120)
        raise error(f"{where}: its library cannot read it ({told}); {remedy}") from reason

"""What a folder or pattern of EXR files holds, and whether it can be rendered."""

from dataclasses import dataclass
from pathlib import Path

from genrender.errors import MediaError
from genrender.gbuffer.exr.channels import AUTOMATIC, Channels, ExrMap, find_channels
from genrender.gbuffer.exr.files import Series, exr_files, find_series, missing_frames, say_frames
from genrender.gbuffer.exr.frame import ExrHeader, read_header
from genrender.gbuffer.exr.sequence import ExrSequence, full_name

# Compressions that change 32-bit numbers, and those that change 16-bit ones as well.
LOSSY = ("PXR24", "B44", "B44A", "DWAA", "DWAB")


@dataclass(frozen=True, eq=False)
class Survey:
    """What lies at a place, usable or not.

    Attributes:
        path: the folder or pattern.
        series: files by pass.
        names: all channels of the first frame.
        channels: what they were taken for; None where that is not clear.
        numbers: of the frames.
        size: width and height of the first frame.
        problems: why it cannot be rendered, one line each.
        notes: what may look worse than it could.
        sequence: ready to be read; None where there are problems.
    """

    path: Path
    series: tuple[Series, ...]
    names: tuple[str, ...]
    channels: Channels | None
    numbers: tuple[int, ...]
    size: tuple[int, int]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    sequence: ExrSequence | None


def open_sequence(path: str | Path, wanted: ExrMap = AUTOMATIC) -> ExrSequence:
    """Opens a folder or a pattern of EXR files; pixels are not read yet.

    Args:
        path: a folder, a file, or a pattern with wildcards, %04d, #### or $F4.
        wanted: what is known of the channels; the rest is found out from their names.

    Raises:
        MediaError: there are no files, a frame or channel is missing, or frames differ in size.
        ConfigError: `wanted` has a value out of range.
    """
    survey = survey_files(Path(path), wanted)
    if survey.sequence is None:
        raise MediaError(survey.problems[0])
    return survey.sequence


def survey_files(path: Path, wanted: ExrMap = AUTOMATIC) -> Survey:
    """Looks at everything but the pixels, and goes on where something is wrong.

    Raises:
        MediaError: there are no files, or the first frame cannot be read.
        ConfigError: `wanted` has a value out of range.
    """
    wanted.check()
    series = find_series(exr_files(path))
    firsts = {one.name: read_header(next(iter(one.files.values()))) for one in series}
    names = tuple(full_name(name, channel) for name, header in firsts.items() for channel in header.parts)
    crypto = [full_name(name, one) for name, header in firsts.items() for one in header.crypto_names]
    problems: list[str] = []
    notes: list[str] = []
    channels = None
    try:
        channels = find_channels(str(path), names, crypto, wanted)
    except MediaError as error:
        problems.append(str(error))
    else:
        series = [one for one in series if _holds(firsts[one.name], one.name, channels.names)]
        _check_storage(firsts, channels, problems, notes)
    numbers = tuple(sorted({number for one in series for number in one.files}))
    _check_numbers(path, series, numbers, problems)
    headers = _headers(series, numbers, problems)
    size = firsts[series[0].name].size
    sequence = None
    if channels is not None and not problems:
        sequence = ExrSequence(path, channels, numbers, headers, *size)
        if (fault := sequence.manifest_fault) is not None:
            notes.append(f"{fault}; until then objects are called by their ids")
    said = tuple(problems), tuple(notes)
    return Survey(path, tuple(series), names, channels, numbers, size, *said, sequence)


def _holds(header: ExrHeader, series: str, channels: tuple[str, ...]) -> bool:
    return any(full_name(series, name) in channels for name in header.parts)


def _check_storage(
    firsts: dict[str, ExrHeader], channels: Channels, problems: list[str], notes: list[str]
) -> None:
    """Finds numbers that were rounded when they were written."""
    for series, header in firsts.items():
        for name in header.parts:
            channel = full_name(series, name)
            if channel not in channels.names:
                continue
            compression, is_half = header.compression(name), name in header.half_floats
            if channel == channels.object and channels.cryptomatte is not None:
                how = "half float" if is_half else compression if compression in LOSSY else None
                if how is not None:
                    problems.append(
                        f"{header.path}: cryptomatte ids are stored as {how}, which changes them; save them "
                        "as 32-bit float with ZIP compression"
                    )
            elif is_half and channel in (channels.u, channels.v):
                notes.append(
                    f"{channel} is half float: a texture has no more than 2048 different places along a "
                    "side; 32-bit float is better"
                )
            elif compression in LOSSY:
                notes.append(f"{channel} is compressed as {compression}, which changes it; ZIP does not")


def _check_numbers(path: Path, series: list[Series], numbers: tuple[int, ...], problems: list[str]) -> None:
    if gaps := missing_frames(numbers):
        problems.append(f"{path}: frames {say_frames(gaps)} are missing; render them")
    for one in series:
        if lacking := [range(number, number + 1) for number in numbers if number not in one.files]:
            what = f"pass {one.name}" if one.name else f"{next(iter(one.files.values())).name} and its like"
            problems.append(f"{path}: {what} lacks frames {say_frames(lacking)}; render them")


def _headers(
    series: list[Series], numbers: tuple[int, ...], problems: list[str]
) -> tuple[dict[str, ExrHeader], ...]:
    """The headers of all files, by frame, then by pass."""
    headers: list[dict[str, ExrHeader]] = []
    first: ExrHeader | None = None
    for number in numbers:
        frame = {}
        for one in series:
            if number not in one.files:
                continue
            try:
                header = read_header(one.files[number])
            except MediaError as error:
                problems.append(str(error))
                continue
            first = first or header
            if header.size != first.size:
                theirs, ours = ("x".join(map(str, size)) for size in (header.size, first.size))
                problems.append(
                    f"{header.path} has {theirs} pixels and {first.path.name} {ours}; render all frames and "
                    "passes at one size"
                )
            frame[one.name] = header
        headers.append(frame)
    return tuple(headers)

"""Opening USD stages: which further files they may use, and the errors of the USD library."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from pxr import Ar, Sdf, Tf, Usd, UsdUtils

from genrender.errors import SceneError
from genrender.scene.formats.folders import Folders
from genrender.scene.formats.left_out import LeftOut, PartError

# Prototypes are often mere "over" prims, so that nothing but the instancer shows them.
EVERYTHING = Usd.TraverseInstanceProxies(Usd.PrimIsActive & Usd.PrimIsLoaded & ~Usd.PrimIsAbstract)
# References within references multiply, and so do instances: a small file may stand for endless ones.
MAX_PRIMS = 2**18
# The library's parsers begin their messages with the file, the line and the column.
_AT_LINE = re.compile(r"(?P<file>\S[^:\n]*):(?P<line>\d+):\d+: (?P<what>[^\n]*)")
# What its texts say about its own source code.
_OWN_WORDS = re.compile(r"pxrInternal\w*::|\bSdf_TextFileFormatParser::|:SDF_FORMAT_ARGS:[^@\s]*")
_ERROR_HEAD = re.compile(r"Error in '[^']*' at line \d+ in file \S+ : '")


@contextmanager
def usd_calls(path: Path) -> Iterator[None]:
    """What the USD library does with a file: its own lines stay off the screen, its errors become ours.

    Raises:
        SceneError: the library, or its Python binding, does not understand what the file holds.
    """
    # It keeps what the library says, and nobody asks it: handing over texts that are no Unicode fails.
    quiet = UsdUtils.CoalescingDiagnosticDelegate()
    try:
        yield
    except (Tf.ErrorException, UnicodeDecodeError) as error:
        # The second is how the library's binding fails over a message of the first kind.
        raise SceneError(f"{path.name}: cannot be read as USD: {one_line(error, path)}") from None
    except TypeError as error:
        if not is_of_binding(error):
            raise
        raise SceneError(
            f"{path.name}: holds a value that USD cannot hand over ({one_line(error, path)})"
        ) from None
    finally:
        del quiet  # from here on the library speaks again


def is_of_binding(error: TypeError) -> bool:
    """Whether the library's binding to Python raised it, and not code of this project."""
    return type(error).__module__.startswith(("Boost", "pxr")) or "C++" in str(error)


def one_line(error: object, path: Path) -> str:
    """What the library says of a file, without what it says of itself, and the way out."""
    text = _OWN_WORDS.sub("", _text(error))
    if found := _AT_LINE.search(text):
        file = Path(found["file"].strip(" '\"")).name
        where = f"line {found['line']}" if file == path.name else f"{file}, line {found['line']}"
        what = re.sub(
            r"^parse error matching (\w+)",
            lambda rule: "expected " + re.sub(r"(?<=[a-z])(?=[A-Z])", " ", rule[1]).lower(),
            found["what"].strip(" '."),
        )
        return f"{where}: {what[:160]}; mend that line or export it again"
    words = " ".join(_ERROR_HEAD.sub("", text).split())
    return f"{words if len(words) <= 200 else words[:197] + '...'}; export it again"


def _text(error: object) -> str:
    """Messages repeat what a file says, and its bytes may be no Unicode."""
    try:
        return (
            error.object.decode("utf-8", "replace") if isinstance(error, UnicodeDecodeError) else str(error)
        )
    except UnicodeDecodeError as reason:
        return _text(reason)


def part_reason(error: PartError | Tf.ErrorException) -> str:
    """Why one part cannot be shown, as `LeftOut` tells it."""
    if isinstance(error, PartError):
        return str(error)
    words = " ".join(_ERROR_HEAD.sub("", _text(error)).split()).strip("' ")
    return f"cannot be evaluated by USD ({_OWN_WORDS.sub('', words)[:120]}); export it again"


def open_stage(folders: Folders, left_out: LeftOut) -> Usd.Stage:
    """The composed stage. What cannot be composed is noted, unless nothing else is there.

    Raises:
        SceneError: it cannot be read, holds too much, or refers to files that lie where they must not.
        Tf.ErrorException: likewise.
    """
    path = folders.scene
    stage = Usd.Stage.Open(str(path))
    # Layers that another scene of this process still holds may have changed on disk.
    stage.Reload()
    # Which files it refers to is known only now: paths hold variables, and of variants one is chosen.
    for layer in stage.GetUsedLayers():
        if layer.realPath:
            _check_file(folders, layer.identifier, "a reference, payload or sublayer")
    _check_prims(path, stage)
    for prim in Usd.PrimRange.Stage(stage, EVERYTHING):
        if prim.HasAuthoredMetadata("clips"):
            _check_clips(folders, Usd.ClipsAPI(prim))
    for error in sorted(stage.GetCompositionErrors(), key=_at):
        if found := re.search(r"@([^@]+)@", _text(error)):  # one that is not there may lie outside as well
            _check_file(folders, found[1], "a reference, payload or sublayer")
        left_out.add(f"prim {_at(error)!r}", _composition(error, path))
    return stage


def _check_prims(path: Path, stage: Usd.Stage) -> None:
    """Raises SceneError for more prims than anybody would want to wait for."""
    prims = Usd.PrimRange.Stage(stage, EVERYTHING)
    if next(islice(prims, MAX_PRIMS, None), None) is not None:
        raise SceneError(f"{path.name}: has more than {MAX_PRIMS:,} prims; split it, or merge its meshes")


def _check_clips(folders: Folders, clips: Usd.ClipsAPI) -> None:
    for name in clips.GetClips():
        for asset in (*clips.ComputeClipAssetPaths(name), clips.GetClipManifestAssetPath(name)):
            if asset is not None and asset.path:
                _check_file(folders, asset.resolvedPath or asset.path, "a value clip")


def _check_file(folders: Folders, identifier: str, what: str) -> None:
    file, _ = Sdf.Layer.SplitIdentifier(identifier)
    inner = ""
    if Ar.IsPackageRelativePath(file):
        file, inner = Ar.SplitPackageRelativePathOuter(file)
    if inner.startswith(("..", "/")):
        raise folders.outside(what, inner)
    folders.check(folders.scene.parent.resolve() / (str(Ar.GetResolver().Resolve(file)) or file), what, file)


def _composition(error: object, path: Path) -> str:
    """Why something cannot be composed. Of files alone: the places that lack them share the reason."""
    text = _text(error)
    asset = re.search(r"@([^@]*)@", text)
    if "Could not open asset" in text and asset:
        name = Path(_OWN_WORDS.sub("", asset[1])).name
        if found := _AT_LINE.search(_OWN_WORDS.sub("", text.partition(" -- ")[2])):
            return f"refers to {name}, which cannot be read: {one_line(found[0], path)}"
        if "Cannot determine file format" in text:
            return f"refers to {name}, whose format is not read; convert it if it holds shapes"
        return f"cannot be composed: there is no {name}; put the missing file in its place"
    return f"cannot be composed: {one_line(error, path)}"


def _at(error: object) -> str:
    site = getattr(error, "rootSite", None)
    return str(getattr(site, "path", None) or "/")

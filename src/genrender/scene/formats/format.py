"""An entry of the table of scene formats."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genrender.errors import SceneError
from genrender.scene.formats.folders import Folders
from genrender.scene.formats.mesh_file import MeshFile
from genrender.scene.scene import Scene


@dataclass(frozen=True)
class Format:
    """A kind of scene file. It has either `read_scene` or `read_moment`.

    Attributes:
        name: what users call it.
        suffixes: of its files, lower case, with the dot.
        read_scene: reads a file with all that moves in it.
        read_moment: reads a file of a single moment; numbered files of this kind make an animation.
        files: lists the files that a scene is read from, or that may lie beside it; None: its own file alone.
        library: the module that it needs and that not every installation has.
        extra: the extra of this package that brings that library.
        is_apart: damaged files can end the process that uses the library, so it is one of its own.
    """

    name: str
    suffixes: tuple[str, ...]
    read_scene: Callable[[Folders], Scene] | None = None
    read_moment: Callable[[Path], MeshFile] | None = None
    files: Callable[[Folders], list[Path]] | None = None
    library: str | None = None
    extra: str | None = None
    is_apart: bool = False

    @contextmanager
    def needing_library(self, path: Path) -> Iterator[None]:
        """Raises SceneError, with the command that installs it, where the import of the library fails."""
        try:
            yield
        except ModuleNotFoundError as error:
            if self.library is None or (error.name or "").split(".")[0] != self.library:
                raise
            raise SceneError(
                f"{path.name}: reading {path.suffix} needs a library that is not installed; "
                f"pip install 'genrender[{self.extra}]'"
            ) from None

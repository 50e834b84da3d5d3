"""Folders in which a scene's further files may lie: one rule for all formats.

A scene from somewhere must not read what else is on this machine. What it refers to lies in the folder of its
file, or below, or in a folder that the user names.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from genrender.errors import SceneError


@dataclass(frozen=True)
class Folders:
    """Where the files that a scene refers to may lie.

    Attributes:
        scene: the scene's own file; its folder is always allowed.
        allowed: more folders, resolved.
    """

    scene: Path
    allowed: tuple[Path, ...] = ()

    @staticmethod
    def of(scene: Path, allowed: Iterable[str | Path] = ()) -> "Folders":
        """Resolves folders as a user names them.

        Raises:
            SceneError: there is no such folder.
        """
        folders = tuple(Path(folder) for folder in allowed)
        for folder in folders:
            if not folder.is_dir():
                raise SceneError(
                    f"there is no folder {folder}, whose files {scene.name} may use; mend --allow-folder"
                )
        return Folders(scene, tuple(folder.resolve() for folder in folders))

    def check(self, target: Path, what: str, uri: str) -> Path:
        """Where a file lies that the scene refers to; whether it is there is not asked.

        Args:
            target: an absolute path.
            what: refers to it, for instance "buffer 3".
            uri: how the scene names it.

        Raises:
            SceneError: it lies elsewhere, or leads there by a link.
        """
        try:
            resolved = target.resolve()
        except (OSError, RuntimeError, ValueError) as error:  # links in a circle, null characters
            raise SceneError(
                f"{self.scene.name}: {what} at {uri[:80]!r} cannot be read: {error}; mend its path"
            ) from None
        folders = (self.scene.parent.resolve(), *self.allowed)
        if not any(resolved.is_relative_to(folder) for folder in folders):
            raise self.outside(what, uri)
        return resolved

    def outside(self, what: str, uri: str) -> SceneError:
        """The error for a file that lies where it must not."""
        return SceneError(
            f"{self.scene.name}: {what} lies at {uri[:80]!r}, outside the scene's folder; put it there, or "
            "allow its folder with --allow-folder"
        )

"""`genrender unwrap`: a scene with texture coordinates that will do, as a file of its own."""

from genrender.cli.console import hooks, say
from genrender.errors import MediaError
from genrender.jobs.clips import by_reason, note_left_out
from genrender.options.commands import Unwrap
from genrender.scene.formats.gltf.rewrite import write_with_uvs
from genrender.scene.load import load_scene
from genrender.scene.uv.unwrap import unwrap
from genrender.storage.atomic import check_writable


def unwrap_file(options: Unwrap) -> None:
    """Writes the new file, also where nothing had to be changed.

    Raises:
        MediaError: the new file is the old one, no .glb, or cannot be written.
        SceneError: the scene cannot be read, is no glTF, or cannot be unwrapped.
    """
    if options.out.suffix.lower() != ".glb":
        raise MediaError(f"cannot write {options.out}: expected the name of a .glb file")
    if options.out.resolve() == options.scene.resolve():
        raise MediaError(f"cannot write {options.out}: it is the scene itself; give another name")
    check_writable(options.out.parent)
    scene = load_scene(options.scene, options.allow_folder)
    note_left_out(scene, hooks())
    unwrapped = unwrap(scene, options.uv)
    write_with_uvs(unwrapped.scene, set(unwrapped.made), options.out)
    if unwrapped.made:
        say(f"new texture coordinates: {by_reason(scene, unwrapped.made)}")
    n_kept = len(scene.objects) - len(unwrapped.made)
    if n_kept:
        say(f"{n_kept} of {len(scene.objects)} objects keep theirs, which will do")
    say(str(options.out))

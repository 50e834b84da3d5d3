"""What a scene's settings ask for, as a job in a folder of its own."""

import re
import shlex
import sys
import time
from pathlib import Path

import bpy

from .job import SCENE_FILE, Programs, Request, surroundings

# Sides of pictures are multiples of this many pixels, which the models want.
STEP = 8
# A look at the passes takes at most so many frames, evenly spread.
N_PREVIEWED = 8


class AskError(Exception):
    """The settings cannot be used; one line that says why, and how to mend it."""


def make_job(scene, layer, kind: str) -> Path:
    """Writes a job: its folder, what is asked for, and a copy of the file.

    Args:
        kind: `video` or `preview`.

    Raises:
        AskError: a setting cannot be used, or the folder cannot be written to.
    """
    request = make_request(scene, layer, kind)
    root = output_folder(scene)
    name = re.sub(r"[^\w-]+", "_", scene.name).strip("_") or "scene"
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = _new_folder(root, f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / SCENE_FILE), copy=True, check_existing=False)
        _link_caches(folder)
        request.save(folder)
    except (OSError, RuntimeError) as error:
        raise AskError(f"cannot write to {root}: {error}; choose another folder") from error
    return folder


def _link_caches(folder: Path) -> None:
    """Baked simulations lie beside the file, in a folder that has its name."""
    if not bpy.data.filepath:
        return
    file = Path(bpy.data.filepath)
    caches = file.with_name(f"blendcache_{file.stem}")
    if caches.is_dir():
        beside = folder / f"blendcache_{Path(SCENE_FILE).stem}"
        if sys.platform == "win32":
            import _winapi

            _winapi.CreateJunction(str(caches), str(beside))
        else:
            beside.symlink_to(caches, target_is_directory=True)


def _new_folder(root: Path, name: str) -> Path:
    for number in range(1, 1000):
        folder = root / (name if number == 1 else f"{name}-{number}")
        if not folder.exists():
            folder.mkdir()
            return folder
    raise OSError(f"there are a thousand folders called {name}")


def output_folder(scene) -> Path:
    """Where jobs of a scene lie; with a path beside a file that is not saved, the extension's own folder."""
    told = scene.genrender.folder
    if told.startswith("//") and not bpy.data.filepath:
        return Path(bpy.utils.extension_path_user(__package__, path="jobs", create=True))
    return Path(bpy.path.abspath(told or "//genrender")).absolute()


def make_request(scene, layer, kind: str) -> Request:
    """What the settings ask for.

    Raises:
        AskError: they cannot be used.
    """
    settings = scene.genrender
    if kind == "video" and not settings.prompt.strip():
        raise AskError("the prompt is empty; write what the video shows")
    if scene.camera is None and not any(marker.camera for marker in scene.timeline_markers):
        raise AskError(f"scene {scene.name} has no camera; add one and make it the scene's")
    frames = list(range(scene.frame_start, scene.frame_end + 1))
    if kind == "preview":
        frames = frames[:: -(-len(frames) // N_PREVIEWED)]
    road = "exr" if kind == "preview" else settings.road
    size, pixel_aspect = picture_shape(scene)
    if road != "exr":
        pixel_aspect = [1.0, 1.0]  # the engine's pixels are squares; what does not fit is cut off
    objects = things(scene)
    if not any(takes_part for _, takes_part, _ in objects):
        raise AskError(f"scene {scene.name}: no object takes part; let one take part")
    return Request(
        kind=kind,
        scene=scene.name,
        layer=layer.name,
        frames=frames,
        size=size,
        pixel_aspect=pixel_aspect,
        left_out=[_key(thing) for thing, takes_part, _ in objects if not takes_part],
        road=road,
        charts=settings.charts,
        use_scripts=bpy.context.preferences.filepaths.use_scripts_auto_execute or not bpy.app.autoexec_fail,
        options=[] if kind == "preview" else engine_options(scene, road, frames, size, objects),
        offline=not bpy.app.online_access,
        blend=bpy.data.filepath,
    )


def engine_options(scene, road: str, frames: list[int], size: list[int], objects: list) -> list[str]:
    """Arguments of `genrender render`."""
    settings = scene.genrender
    try:
        more = shlex.split(settings.options, posix=sys.platform != "win32")
    except ValueError as error:
        raise AskError(f"options {settings.options!r}: {error}") from error
    words = [
        f"--prompt={settings.prompt.strip()}",
        f"--preset={settings.preset}",
        f"--model={model_name(settings.model)}",
        f"--seed={settings.seed}",
        f"--fps={scene.render.fps / scene.render.fps_base:.6g}",
    ]
    if settings.negative_prompt.strip():
        words.append(f"--negative-prompt={settings.negative_prompt.strip()}")
    for thing, takes_part, prompt in objects:
        if takes_part and prompt.strip() and thing.type != "EMPTY":
            words.append(f"--prompt-for={as_pattern(thing.name, road)}={prompt.strip()}")
    if road != "exr":
        if any(marker.camera not in (None, scene.camera) for marker in scene.timeline_markers):
            raise AskError("markers change the camera, which passes by Cycles alone can show; choose these")
        words += [f"--camera=scene:{scene.camera.name}", f"--size={size[0]}x{size[1]}"]
        words += [f"--start={frames[0]}", f"--end={frames[-1]}"]
    return words + more


def model_name(told: str) -> str:
    """The model as the engine is told of it: a file beside the .blend by its whole path."""
    told = told.strip() or "pocket"
    return bpy.path.abspath(told) if told.startswith("//") else told


def as_pattern(name: str, road: str) -> str:
    """A pattern that fits a name alone, as the road writes it; a `=` would end it."""
    if road == "usd":
        # Names there are words that begin with no digit.
        return re.sub(r"^\d", "*", re.sub(r"\W", "_", name))
    return re.sub(r"([*?\[])", r"[\1]", name).replace("=", "?")


def picture_shape(scene) -> tuple[list[int], list[float]]:
    """Width and height of the passes, and the shape of a pixel with which the camera sees the same."""
    render = scene.render
    wide = render.resolution_x * render.pixel_aspect_x
    high = render.resolution_y * render.pixel_aspect_y
    longer = scene.genrender.size
    size = [max(STEP, round(longer * side / max(wide, high) / STEP) * STEP) for side in (wide, high)]
    stretch = (wide / high) / (size[0] / size[1])
    return size, [max(stretch, 1.0), max(1 / stretch, 1.0)]


def _key(thing) -> list[str]:
    return [thing.name, thing.library.filepath if thing.library else ""]


def things(scene) -> list[tuple]:
    """All objects of a scene, with those that instances show: the object, whether it takes part, its prompt.

    An object's own prompt counts, then that of the innermost collection that has one, then that of the empty
    that shows it. It takes part where itself, all its collections and what shows it do.
    """
    found: dict = {}

    def see(collection, takes_part: bool, prompt: str) -> None:
        takes_part = takes_part and collection.genrender.takes_part
        prompt = collection.genrender.prompt or prompt
        for thing in collection.objects:
            is_in = takes_part and thing.genrender.takes_part
            said = thing.genrender.prompt or prompt
            before = found.get(thing)
            found[thing] = (is_in and (before is None or before[0]), said or (before[1] if before else ""))
            if thing.instance_type == "COLLECTION" and thing.instance_collection is not None:
                see(thing.instance_collection, is_in, said)
        for child in collection.children:
            see(child, takes_part, prompt)

    see(scene.collection, True, "")
    return [(thing, takes_part, prompt) for thing, (takes_part, prompt) in found.items()]


def programs(engine: tuple[str, ...]) -> Programs:
    """What a job starts: this Blender once more, and the engine."""
    script = str(Path(__file__).parent / "genrender_passes" / "__main__.py")
    blender = [sys.executable, script]
    if bpy.app.binary_path:  # else Blender is a module of Python
        access = [] if bpy.app.online_access else ["--offline-mode"]
        blender = [
            bpy.app.binary_path,
            "--background",
            *access,
            "--python-exit-code",
            "1",
            "--python",
            script,
            "--",
        ]
    return Programs(tuple(blender), engine, surroundings())

"""The pictures of docs/blender_tutorial.md: does in Blender's window what the page tells, and photographs it.

    make blender
    xvfb-run -s "-screen 0 1600x1000x24" blender --factory-startup --window-geometry 0 0 1600 1000 \
        --python tools/blender_pictures.py -- build/blender/genrender-0.2.0.zip .venv

Behind `--` stand the extension's zip and the engine's environment. X11 and ImageMagick are needed. Blender's
settings are not saved, but the extension stays installed: give BLENDER_USER_RESOURCES a folder of its own.
"""

import math
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import bpy

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures" / "blender"
MODULE = "bl_ext.user_default.genrender"
PROMPT = "a red and white striped donut on a blue background"
# Parts of a window of 1600 x 1000 pixels: width, height, left, top.
SIDEBAR = "268x760+1038+82"
VIEW = "1320x900+0+28"
# The sidebar as far as the preview: below stands how long it takes on the machine of the pictures.
PROGRESS = "268x530+1038+82"


def steps(package: Path, engine: Path) -> Iterator[float]:
    """What a user does; yields seconds to wait."""
    bpy.context.preferences.view.show_splash = False
    bpy.ops.extensions.package_install_files(
        filepath=str(package), repo="user_default", enable_on_install=True
    )
    bpy.ops.wm.read_homefile()
    yield 2
    area().spaces.active.show_region_ui = True
    yield 2
    next(region for region in area().regions if region.type == "UI").active_panel_category = "genrender"
    yield 2
    photograph("engine", SIDEBAR)
    bpy.context.preferences.addons[MODULE].preferences.engine = str(engine)
    scene = bpy.context.scene
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    with over_view():
        bpy.ops.mesh.primitive_torus_add(major_radius=1.2, minor_radius=0.5)
        bpy.ops.view3d.view_camera()
    turn(bpy.context.object)
    scene.frame_start, scene.frame_end = 1, 24
    scene.frame_set(1)  # keys are read when the frame is set
    scene.render.resolution_x = scene.render.resolution_y = 512
    scene.genrender.prompt, scene.genrender.preset, scene.genrender.size = PROMPT, "fast", 128
    folder = Path(tempfile.mkdtemp())
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "donut.blend"))
    yield 2
    photograph("ready", VIEW)
    with over_view():
        bpy.ops.genrender.preview_passes("INVOKE_DEFAULT")
    yield from until(lambda job: not job.is_under_way)
    photograph("passes", SIDEBAR)
    with over_view():
        bpy.ops.genrender.generate("INVOKE_DEFAULT")
    yield from until(lambda job: job.work == "diffusion" and job.done >= 6)
    photograph("generating", PROGRESS)
    yield from until(lambda job: not job.is_under_way)
    frames = sorted(folder.glob("genrender/*/run/frames/[0-9]*.png"))
    picture = PICTURES / "frames.jpg"
    picked = [str(frame) for frame in frames[::4]]
    subprocess.run(
        ["montage", *picked, "-tile", "6x1", "-geometry", "200x200+2+2", "-quality", "88", picture],
        check=True,
    )


def turn(thing) -> None:
    """Half a turn in 24 frames."""
    for frame, angles in ((1, (0, 0, 0)), (25, (math.pi / 2, 0, math.pi))):
        thing.rotation_euler = angles
        thing.keyframe_insert("rotation_euler", frame=frame)


def area():
    """The 3D viewport."""
    return next(one for one in bpy.context.window_manager.windows[0].screen.areas if one.type == "VIEW_3D")


def over_view():
    """A context as if the pointer were over the viewport."""
    window = bpy.context.window_manager.windows[0]
    region = next(one for one in area().regions if one.type == "WINDOW")
    return bpy.context.temp_override(window=window, screen=window.screen, area=area(), region=region)


def until(is_so) -> Iterator[float]:
    """Waits for the job."""
    watch = sys.modules[f"{MODULE}.watch"].watch
    while not is_so(watch.job):
        if watch.job.error:
            raise RuntimeError(watch.job.error)
        yield 0.5
    yield 2  # to be drawn


def photograph(name: str, part: str) -> None:
    """Saves a part of the screen."""
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
    file = PICTURES / f"{name}.jpg"
    subprocess.run(
        ["import", "-window", "root", "-crop", part, "+repage", "-quality", "75", file], check=True
    )


def run(hands: Iterator[float]) -> None:
    """Goes through the steps beside Blender's own work, and ends Blender."""

    def go_on() -> float | None:
        try:
            return next(hands)
        except StopIteration:
            pass
        except Exception:  # else the window would stay open, and nobody be told
            traceback.print_exc()
        bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(go_on, first_interval=2, persistent=True)


package, engine = (Path(word).absolute() for word in sys.argv[sys.argv.index("--") + 1 :])
PICTURES.mkdir(parents=True, exist_ok=True)
run(steps(package, engine))

"""Writes the passes of a job's frames that are not there yet, and says by lines of JSON how it goes.

blender --background --python genrender_passes/__main__.py -- JOB_FOLDER
python genrender_passes/__main__.py JOB_FOLDER          where Blender is the module bpy
"""

import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bpy
from genrender_passes import charts, exr, geometry, objects
from genrender_passes.told import PassError, tell


def main(folder: Path) -> int:
    request = objects.read_request(folder)
    bpy.ops.wm.open_mainfile(filepath=str(folder / "scene.blend"), use_scripts=request["use_scripts"])
    scene = bpy.data.scenes[request["scene"]]
    layer = scene.view_layers[request["layer"]]
    bpy.context.window.scene = scene
    bpy.context.window.view_layer = layer
    objects.leave_out(scene, layer, request["left_out"])
    objects.like_render(scene, layer)
    exr.check_camera(scene, request["frames"])
    if request["road"] == "exr":
        if request["charts"] != "none":
            charts.make_charts(
                scene, layer, request["frames"], also_overlaps=request["charts"] == "overlapping"
            )
        exr.set_up(scene, layer, request["size"], request["pixel_aspect"])
        exr.render(scene, layer, request["frames"], folder)
    else:
        geometry.write(scene, request, folder)
    return 0


if __name__ == "__main__":
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    try:
        code = main(Path(words[0]))
    except PassError as error:
        tell("error", text=str(error))
        code = 2
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)  # all is written; tidying up a large scene takes long

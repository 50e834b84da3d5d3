"""How far Cycles's passes and our own of a scene file agree, in the engine's Python.

    python agree.py PASSES SCENE CAMERA PATTERN...

The patterns, which the extension names objects by, have to fit one object each.
Prints JSON: `other`, the share of pixels that show another object; of the rest, `deeper`, the share whose
depths differ by 1 %; `off`, the share whose texture coordinates differ by 0.005, of `n` pixels of objects
that had some.
"""

import json
import re
import sys

import numpy as np

from genrender.gbuffer.exr.survey import open_sequence
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip

passes, file, camera, *patterns = sys.argv[1:]
cycles = open_sequence(passes)
shot = ShotConfig(
    size=(cycles.width, cycles.height),
    camera=f"scene:{camera}",
    start=cycles.numbers[0],
    end=cycles.numbers[-1],
)
scene = load_scene(file)
clip = render_clip(scene, shot)
objects = clip.geometry.scene.objects
for pattern in patterns:
    (number,) = scene.find_objects(pattern)
had_uvs = [thing.name for thing in scene.objects if thing.has_uvs]
assert len(clip.gbuffers) == len(cycles.numbers)


def as_exported(name):
    """Letters of names that USD does not take become others, and a digit cannot be the first."""
    return re.sub(r"^[_\d]+", "", re.sub(r"\W", "_", name))


def names(gbuffer, told):
    """Every pixel's object, as exporters write its name."""
    plain = {0: "", **{number: as_exported(name) for number, name in told.items()}}
    return np.array([plain[number] for number in gbuffer.object_id.flat]).reshape(gbuffer.object_id.shape)


other, deeper, off = [], [], []
for one, ours in zip(map(cycles.gbuffer, range(len(cycles.numbers))), clip.gbuffers, strict=True):
    ids = sorted(set(np.unique(one.object_id).tolist()) - {0})
    theirs = names(one, cycles.object_names(ids))
    mine = names(ours, {number: thing.name for number, thing in enumerate(objects, start=1)})
    alike = (theirs == mine) & one.visible & ours.visible
    other.append((theirs != mine).mean())
    deeper.append((np.abs(one.depth - ours.depth)[alike] > 0.01 * one.depth[alike]).mean())
    for name in had_uvs:
        pixels = alike & (mine == as_exported(name))
        off += (np.abs(one.uv - ours.uv)[pixels].max(axis=-1) > 0.005).tolist()
print(
    json.dumps(
        {
            "other": float(np.mean(other)),
            "deeper": float(np.mean(deeper)),
            "off": float(np.mean(off)),
            "n": len(off),
            "patterns": len(patterns),
        }
    )
)

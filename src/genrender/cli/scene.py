"""What several commands do with a scene before they render it."""

from dataclasses import replace

import numpy as np

from genrender.cli.console import note
from genrender.render import Shot
from genrender.scene.unwrap import unwrap_missing


def with_all_uvs(shot: Shot) -> Shot:
    """The shot with texture coordinates on every object; tells which objects had no usable ones."""
    scene = shot.scene
    unwrapped = unwrap_missing(scene)
    changed = np.unique(scene.object_id[np.any(scene.uvs != unwrapped.uvs, axis=(1, 2))])
    if len(changed):
        names = [scene.objects[object_id - 1].name for object_id in changed]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        note(f"made texture coordinates for what has none: {', '.join(names[:3])}{more}")
    return replace(shot, scene=unwrapped)

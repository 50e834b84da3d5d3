"""A scene for whoever has none at hand."""

import numpy as np

from genrender.scene.formats.gltf.write import CreatureNode, GltfScene, creature_keys, glb_bytes
from genrender.scene.procedural.creatures import biped, walk_cycle

FPS = 24


def example_glb() -> bytes:
    """A biped that takes one double step on the spot in a second, as a GLB file."""
    node = CreatureNode("biped", biped(), color=(0.75, 0.2, 0.15))
    times_s = np.arange(FPS + 1) / FPS
    poses = [walk_cycle(node.creature, float(time_s)) for time_s in times_s]
    # On the ground with its lower foot.
    lowest = [node.creature.pose(pose)[:, 1].min() for pose in poses]
    keys = creature_keys(node, times_s, poses, np.outer(lowest, [0.0, -1.0, 0.0]))
    return glb_bytes(GltfScene([node], animations={"Walk": keys}))

"""Simulations go from frame to frame: those that are not baked are stepped from where they begin."""

from collections.abc import Sequence

from genrender_passes.objects import reachable

# Modifiers whose state comes from the frame before.
PHYSICS = ("CLOTH", "SOFT_BODY", "FLUID", "DYNAMIC_PAINT", "PARTICLE_SYSTEM")


def moments(scene, layer, frames: Sequence[int]) -> list[int]:
    """The frames to go to, in order, such that each of `frames` is as it is when the scene is played."""
    start = simulated_from(scene, layer)
    return list(frames) if start is None else list(range(min(start, frames[0]), frames[-1] + 1))


def simulated_from(scene, layer) -> int | None:
    """The first frame of any simulation; None: there is none."""
    starts = []
    if scene.rigidbody_world is not None:
        starts.append(scene.rigidbody_world.point_cache.frame_start)
    for thing in reachable(layer):
        for modifier in thing.modifiers:
            if modifier.type == "NODES" and simulates(modifier.node_group):
                starts.append(scene.frame_start)
            elif modifier.type in PHYSICS:
                starts.append(_start(modifier, scene.frame_start))
    return min(starts, default=None)


def simulates(group) -> bool:
    """Whether geometry nodes hold a simulation zone."""
    if group is None:
        return False
    return any(
        node.bl_idname == "GeometryNodeSimulationInput" or simulates(getattr(node, "node_tree", None))
        for node in group.nodes
    )


def _start(modifier, otherwise: int) -> int:
    system = getattr(modifier, "particle_system", modifier)
    cache = getattr(system, "point_cache", None)
    return otherwise if cache is None else cache.frame_start

"""What lies outside of a glTF camera's near and far planes is not seen."""

import numpy as np
import pytest
from gltf_builder import SQUARE, GltfBuilder
from test_gltf_extensions import loaded

from genrender.shots.clip import ShotConfig, render_clip

# Planes of cameras


def seen_between(tmp_path, near, far, backdrop="none"):
    """Two cards at depth 2 and 4 before a camera, the nearer one half as wide."""
    builder = GltfBuilder()
    positions = np.array(SQUARE) - [0.5, 0.5, 0]
    mesh = builder.mesh(positions, [0, 1, 2, 2, 1, 3])
    builder.node(mesh=mesh, name="near card", scale=[0.5, 9, 1])
    builder.node(mesh=mesh, name="far card", scale=[9, 9, 1], translation=[0, 0, -2])
    lens = {
        "yfov": 0.5,
        **({} if near is None else {"znear": near}),
        **({} if far is None else {"zfar": far}),
    }
    builder.doc["cameras"] = [{"type": "perspective", "perspective": lens}]
    builder.node(camera=0, translation=[0, 0, 2])
    scene = loaded(builder, tmp_path)
    config = ShotConfig(size=(32, 32), camera="scene:0", n_frames=1, backdrop=backdrop)
    gbuffer = render_clip(scene, config).gbuffers[0]
    return gbuffer.object_id[16, [2, 16]].tolist(), gbuffer.depth[16, [2, 16]].tolist()


@pytest.mark.parametrize(
    ("near", "far", "objects"),
    [
        (None, None, [2, 1]),
        (0.1, 100, [2, 1]),
        (1.9, 4.1, [2, 1]),
        (2.1, None, [2, 2]),
        (2.1, 3.9, [0, 0]),
        (0.1, 3.9, [0, 1]),
        (5, 100, [0, 0]),
        (7, 3, [2, 1]),  # nothing would lie between: not given
        (-1, 0, [2, 1]),
    ],
)
def test_what_lies_outside_of_a_cameras_planes_is_not_seen(tmp_path, near, far, objects):
    seen, depth = seen_between(tmp_path, near, far)
    assert seen == objects
    depths = {0: np.inf, 1: 2.0, 2: 4.0}
    np.testing.assert_allclose(depth, [depths[o] for o in objects], rtol=1e-6)


def test_planes_with_nothing_beyond_them_change_no_bit(tmp_path):
    assert seen_between(tmp_path, 0.1, 1000) == seen_between(tmp_path, None, None)


def test_a_backdrop_is_seen_beyond_the_far_plane(tmp_path):
    seen, depth = seen_between(tmp_path, 0.1, 3.9, backdrop="dome")
    assert seen == [16383, 1]
    assert 3.9 < depth[0] < np.inf

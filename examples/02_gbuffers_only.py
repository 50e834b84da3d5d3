"""The 3D stage on its own: what every pixel shows, without any diffusion model.

    python examples/02_gbuffers_only.py

Flies the still life's own camera past the table and writes, per frame, an EXR file that Blender and
compositing programs read, and a contact sheet. What to look at: out/02/contact_sheet.png.
"""

from pathlib import Path

import numpy as np
import tyro

from genrender.gbuffer.control import inverse_depth_range
from genrender.gbuffer.exr.frame import read_exr, write_exr
from genrender.gbuffer.preview import depth_picture, object_picture, uv_picture
from genrender.media.images import contact_sheet, write_png
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip

SCENES = Path(__file__).parent / "scenes"


def main(frames: int = 12, size: int = 256, out: Path = Path("out/02")) -> None:
    # 1. A scene file may bring cameras: "scene:NAME" takes one, moving as the animation moves it.
    scene = load_scene(SCENES / "still_life.glb")
    print(f"objects: {', '.join(f'{i}={o.name}' for i, o in enumerate(scene.objects, start=1))}")
    duration_s = scene.animations[0].duration_s
    times_s = tuple(np.linspace(0, duration_s, frames).tolist())
    clip = render_clip(scene, ShotConfig(size=(size, size), times_s=times_s, camera="scene:Dolly"))

    # 2. A G-buffer holds arrays. Row 0 is the top of the picture; background is object 0 and infinitely far.
    first = clip.gbuffers[0]
    print(f"depth of the first frame: {first.depth[first.visible].min():.2f} m to", end=" ")
    print(f"{first.depth[first.visible].max():.2f} m, {first.visible.mean():.0%} of the picture covered")

    # 3. EXR files on disk: channels Depth.Z, UV.U, UV.V, IndexOB.X. They can be read back and rendered from.
    out.mkdir(parents=True, exist_ok=True)
    for index, gbuffer in enumerate(clip.gbuffers):
        write_exr(out / f"frame_{index:04d}.exr", gbuffer)
    again = read_exr(out / "frame_0000.exr")
    print(f"read back: object ids equal: {np.array_equal(again.object_id, first.object_id)}")

    # 4. Pictures for people. One depth range serves the whole clip, so that nothing pumps.
    inverse_range = inverse_depth_range(clip.gbuffers)
    rows = {
        "objects": [object_picture(gbuffer) for gbuffer in clip.gbuffers],
        "UV": [uv_picture(gbuffer) for gbuffer in clip.gbuffers],
        "depth": [depth_picture(gbuffer, inverse_range) for gbuffer in clip.gbuffers],
    }
    write_png(out / "contact_sheet.png", contact_sheet(rows, max_columns=6))
    print(out / "contact_sheet.png")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)

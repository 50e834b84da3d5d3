"""A scene and a sentence in, a video out: the shortest way through the library.

    python examples/01_render_a_clip.py
    python examples/01_render_a_clip.py --prompt "a green and yellow spotted robot" --seed 3

What to look at: out/01/contact_sheet.png. The stripes stay where they are on the body while it walks.
"""

from pathlib import Path

import tyro

from genrender import ShotConfig, load_pipeline, load_scene, render_clip
from genrender.gbuffer.control import inverse_depth_range
from genrender.gbuffer.preview import depth_picture, to_picture, uv_picture
from genrender.media.images import contact_sheet, write_png
from genrender.media.video import write_video

SCENES = Path(__file__).parent / "scenes"


def main(
    prompt: str = "a red and white striped biped on a blue background",
    model: str = "pocket",
    frames: int = 16,
    size: int = 128,
    steps: int = 20,
    seed: int = 0,
    out: Path = Path("out/01"),
) -> None:
    # 1. A scene, and the moments of it that the clip shows. Without a camera, the whole motion is framed.
    scene = load_scene(SCENES / "walking_biped.glb")
    clip = render_clip(scene, ShotConfig(size=(size, size), animation="Walk", n_frames=frames))

    # 2. The model: "pocket" comes with the package; "sd15", a folder or a hub id work alike.
    pipe = load_pipeline(model)

    # 3. The whole method at once. Frames are float32 in [0, 1], shaped (frames, height, width, 3).
    result = pipe(prompt, clip.gbuffers, num_inference_steps=steps, seed=seed)

    # 4. A video, and a sheet that shows what went in above what came out.
    out.mkdir(parents=True, exist_ok=True)
    pictures = [to_picture(frame) for frame in result.frames]
    write_video(out / "video.mp4", pictures, clip.fps)
    # One range of depths for the whole clip, as the model sees it: one per frame would make the sheet pump.
    inverse_range = inverse_depth_range(clip.gbuffers)
    rows = {
        "UV": [uv_picture(gbuffer) for gbuffer in clip.gbuffers],
        "depth": [depth_picture(gbuffer, inverse_range) for gbuffer in clip.gbuffers],
        "result": pictures,
    }
    write_png(out / "contact_sheet.png", contact_sheet(rows))
    print(f"{out / 'video.mp4'}\n{out / 'contact_sheet.png'}")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)

"""Makes docs/pictures/passes.jpg: what `genrender passes` writes of one moment, side by side.

python tools/passes_picture.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

import genrender
from genrender.gbuffer.control_pictures import ControlPictures
from genrender.gbuffer.preview import object_picture, to_picture, uv_picture
from genrender.media.images import contact_sheet
from genrender.passes.motion import first_inverse_range, motion_vectors, tracking_picture
from genrender.storage.lazy_frames import PerFrame

ROOT = Path(__file__).parents[1]
N_FRAMES = 13
SIZE = (240, 240)


def main() -> None:
    scene = genrender.load_scene(ROOT / "examples" / "scenes" / "walking_biped.glb")
    shot = genrender.ShotConfig(size=SIZE, n_frames=N_FRAMES, camera="orbit", animation="Walk")
    clip = genrender.render_clip(scene, shot)
    controls, inverse_range = ControlPictures(clip.gbuffers), first_inverse_range(clip)

    def motion(frame: int) -> np.ndarray:
        vectors = motion_vectors(clip, frame, min(frame + 1, N_FRAMES - 1)) / 40
        return to_picture(np.dstack([0.5 + vectors, np.full(vectors.shape[:2], 0.5, np.float32)]))

    rows = {
        "depth": lambda frame: to_picture(np.repeat(controls.of("depth", frame), 3, axis=2)),
        "normals": lambda frame: controls.of("normal", frame),
        "UV": lambda frame: uv_picture(clip.gbuffers[frame]),
        "objects": lambda frame: object_picture(clip.gbuffers[frame]),
        "motion": motion,
        "places in the first frame": lambda frame: tracking_picture(clip, frame, inverse_range),
    }
    sheet = contact_sheet({name: PerFrame(at, N_FRAMES) for name, at in rows.items()})
    path = ROOT / "docs" / "pictures" / "passes.jpg"
    Image.fromarray(sheet).save(path, quality=85)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()

"""`genrender preview`: what the camera sees, as a video and a contact sheet, without any model."""

import tempfile
from pathlib import Path

import numpy as np

from genrender.cli.console import Bars, hooks, say
from genrender.gbuffer.control import inverse_depth_range
from genrender.gbuffer.preview import depth_picture, object_picture, uv_picture
from genrender.jobs.clips import plan_clip, with_all_uvs
from genrender.media.images import contact_sheet, write_png
from genrender.media.video import write_video
from genrender.options.commands import Preview
from genrender.options.job import clip_job
from genrender.scene.load import scene_label
from genrender.shots.clip import Clip, Shot, render_shot
from genrender.storage.atomic import atomic_folder, check_can_hold_files
from genrender.storage.lazy_frames import PerFrame
from genrender.storage.limits import GBUFFER_BYTES, check_disk, check_extent
from genrender.storage.scratch import gbuffer_file

USUAL_SIZE = (256, 256)


def preview(options: Preview) -> None:
    """Writes preview.mp4 and contact_sheet.png, both or none."""
    out = options.out or Path("runs") / f"preview-{scene_label(options.scene)}"
    check_can_hold_files(out)
    shot = plan_clip(clip_job(options), USUAL_SIZE, 2, hooks())
    check_extent(3 * shot.width, shot.height, shot.n_frames)  # three pictures side by side
    check_disk(GBUFFER_BYTES * shot.width * shot.height * shot.n_frames, Path(tempfile.gettempdir()))
    if isinstance(shot, Shot):
        shot = with_all_uvs(shot, hooks())
    with gbuffer_file() as file, Bars() as bars, atomic_folder(out) as part:
        clip = render_shot(shot, bars, file)
        _write(clip, part)
    say(f"video          {out / 'preview.mp4'}")
    say(f"contact sheet  {out / 'contact_sheet.png'}")


def _write(clip: Clip, folder: Path) -> None:
    gbuffers, n_frames = clip.gbuffers, clip.shot.n_frames
    inverse_range = inverse_depth_range(gbuffers)
    rows = {
        "depth": PerFrame(lambda frame: depth_picture(gbuffers[frame], inverse_range), n_frames),
        "UV": PerFrame(lambda frame: uv_picture(gbuffers[frame]), n_frames),
        "objects": PerFrame(lambda frame: object_picture(gbuffers[frame]), n_frames),
    }
    side_by_side = (np.concatenate(pictures, axis=1) for pictures in zip(*rows.values(), strict=True))
    write_video(folder / "preview.mp4", side_by_side, clip.fps)
    write_png(folder / "contact_sheet.png", contact_sheet(rows))

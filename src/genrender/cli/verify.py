"""`genrender verify`: figures and pictures that say whether noise and features stick to the surface."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from genrender.cli.console import Bars, hooks, say, say_json
from genrender.errors import ConfigError
from genrender.gbuffer.exr.files import is_exr_sequence
from genrender.jobs.clips import plan_clip, with_all_uvs
from genrender.media.images import write_png
from genrender.options.commands import Verify
from genrender.options.job import clip_job
from genrender.scene.load import scene_label
from genrender.shots.clip import Shot, render_shot
from genrender.storage.atomic import atomic_folder, check_can_hold_files
from genrender.storage.scratch import gbuffer_file


def verify(options: Verify) -> None:
    """Measures a scene without any model, prints the figures and writes noise.png and features.png."""
    if is_exr_sequence(options.scene):
        raise ConfigError(
            f"{options.scene} holds EXR files, and what is verified is compared with exact surface points of "
            "triangles; verify the scene that they were rendered from, or see what they hold with "
            "`genrender inspect` and `genrender preview`"
        )
    out = options.out or Path("runs") / f"verify-{scene_label(options.scene)}"
    check_can_hold_files(out)
    shot = plan_clip(clip_job(options), (0, 0), 8, hooks())
    assert isinstance(shot, Shot)  # no EXR files

    # Only here, when what is quick to check has been checked: PyTorch alone takes seconds to import.
    from genrender.evaluation.verify.checks import check_shot, verify_clip
    from genrender.evaluation.verify.pictures import feature_picture, noise_picture

    check_shot(shot)
    with Bars() as bars, gbuffer_file() as file:
        clip = render_shot(with_all_uvs(shot, hooks()), bars, file)
        verification = verify_clip(clip, options.seed, bars)
        with atomic_folder(out) as part:
            for done, (name, draw) in enumerate(
                {"noise": noise_picture, "features": feature_picture}.items()
            ):
                write_png(part / f"{name}.png", draw(clip, verification, options.seed))
                bars("pictures", done + 1, 2)
    pictures = [str(out / "noise.png"), str(out / "features.png")]
    if options.json:
        about = {"file": str(options.scene), "frames": shot.n_frames, "size": [shot.width, shot.height]}
        say_json({**about, **verification.as_json(), "pictures": pictures})
        return
    say(f"{options.scene}: {shot.n_frames} frames of {shot.width}x{shot.height}")
    table = Table()
    for column in ("", "figure", "expected", "mark"):
        table.add_column(column, justify="right" if column == "figure" else "left")
    for check in verification.checks():
        figure = "-" if check.value is None else f"{check.value:.3f}"
        mark = "[green]pass[/]" if check.is_met else "[yellow]attention[/]"
        table.add_row(check.name, figure, check.expected, mark)
    Console().print(table)
    for picture in pictures:
        say(picture)

"""A long clip as a job of OpenCue: keyframes, then ranges of frames, then one video. See docs/farm.md.

    python integrations/farm/opencue_job.py fox.glb 512 /shared/fox --per-task 96 --prompt "a red fox"

Needs OpenCue's own opencue-pyoutline where it is called; hosts need genrender alone.
"""

import argparse
import shlex
from pathlib import Path

import outline
from outline.cuerun import OutlineLauncher
from outline.modules.shell import Shell


def make_outline(
    scene: str, n_frames: int, folder: str, per_task: int, options: list[str]
) -> outline.Outline:
    """Three layers, each of which waits for all frames of the one before it.

    Args:
        scene: on storage that all hosts see, and so is `folder`, which gets the runs and video.mp4.
        n_frames: of the clip.
        per_task: frames of a task; a multiple of 8 wastes least.
        options: more words for `genrender render`, which say what the whole clip is.
    """
    keyframes, parts, video = (Path(folder) / name for name in ("keyframes", "parts", "video.mp4"))
    # The same command for every attempt: --resume goes on where an earlier one was stopped.
    whole = ["genrender", "render", scene, f"--frames={n_frames}", *options, "--resume", "--progress=percent"]
    frames = "#FRAME_START#-#FRAME_END#"  # of a task; OpenCue puts numbers there
    made = outline.Outline(f"genrender-{Path(scene).stem}", frame_range=f"0-{n_frames - 1}")
    before = None
    for name, command, of_layer in (
        ("keyframes", [*whole, "--only=keyframes", f"--run-dir={keyframes}"], {"range": "0"}),
        (
            "frames",
            [*whole, f"--only={frames}", f"--keyframes-from={keyframes}", f"--run-dir={parts / frames}"],
            {"range": f"0-{n_frames - 1}", "chunk": per_task},
        ),
        ("join", ["genrender", "join", str(parts), f"--out={video}"], {"range": "0"}),
    ):
        layer = Shell(name, command=shlex.join(command), **of_layer)
        if before is not None:
            layer.depend_all(before)
        made.add_layer(layer)
        before = layer
    return made


def main() -> None:
    """Sends the job to the cuebot that OpenCue's own settings name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("frames", type=int)
    parser.add_argument("folder")
    parser.add_argument("--per-task", type=int, default=96, help="frames of a task, a multiple of 8")
    parser.add_argument(
        "--show", action="store_true", help="print the job as OpenCue reads it, and send nothing"
    )
    asked, options = parser.parse_known_args()
    job = OutlineLauncher(make_outline(asked.scene, asked.frames, asked.folder, asked.per_task, options))
    if asked.show:
        job.setup()
        print(job.serialize(use_pycuerun=False))
    else:
        job.launch(use_pycuerun=False)


if __name__ == "__main__":
    main()

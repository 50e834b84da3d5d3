"""The names of all files of a run, finished or under way."""

import re

# A finished run.
CONFIG_FILE = "config.json"
FRAMES_DIR = "frames"
FRAME_FILES = f"{FRAMES_DIR}/[0-9][0-9][0-9][0-9][0-9].png"
VIDEO_FILE = "video.mp4"
CONTACT_SHEET_FILE = "contact_sheet.png"
# Figures that `genrender evaluate` adds.
METRICS_FILE = "metrics.json"
# What other shots take their look from.
APPEARANCE_FILE = "appearance.npz"
# What `--also` and `--upscale` add.
ALPHA_DIR, EXR_DIR, MATTES_DIR, UPSCALED_DIR = "alpha", "exr", "mattes", "upscaled"
PRORES_FILE, UPSCALED_FILE = "prores.mov", "upscaled.mp4"
NUMBERED = "[0-9][0-9][0-9][0-9][0-9]"
OF_ALSO = (
    *(f"{ALPHA_DIR}/{NUMBERED}.png", f"{EXR_DIR}/{NUMBERED}.exr", f"{MATTES_DIR}/{NUMBERED}.exr"),
    *(PRORES_FILE, f"{UPSCALED_DIR}/{NUMBERED}.png", UPSCALED_FILE),
)
# What a front end keeps where `--seeds` makes no run.
SEEDS_FILE = "seeds.png"
# What an earlier run leaves in its folder, and the next one replaces.
OF_FINISHED = (
    *(CONFIG_FILE, FRAME_FILES, VIDEO_FILE, CONTACT_SHEET_FILE, METRICS_FILE, APPEARANCE_FILE),
    *OF_ALSO,
)

# Files under way that a finished run is to get, in a folder of its own inside the run folder.
FINISHING_DIR = "finishing"
ALPHAS_FILE = "alpha.bin"

# A run under way, in a folder of its own inside the run folder.
UNFINISHED_DIR = "unfinished"
# What was asked for.
REQUEST_FILE = "request.json"
# How far it has come, and what counts of the others.
STATE_FILE = "state.pt"
SECONDS_FILE = "seconds.bin"
PREVIEW_FILE = "preview.png"
GBUFFERS_FILE = "gbuffers.bin"
OUTPUTS_FILE = "outputs.bin"
# The latents that become the appearance file.
RECORDED_FILE = "appearance.bin"
# The run folders of its keyframes and parts, where several workers make it.
PARTS_DIR = "parts"
OF_UNFINISHED = re.compile(
    rf"(\w+|latents-\d|scheduler-\d-\d+|texels-\d+x\d+-\d+)\.(bin|pt|json|png)|{PARTS_DIR}"
)


def frame_file(frame: int) -> str:
    """The picture of a frame, inside `frames/`."""
    return f"{frame:05d}.png"


def control_file(kind: str) -> str:
    """The control pictures of one kind, of all frames."""
    return f"control_{kind}.bin"


def latents_file(step: int) -> str:
    """The latents after so many steps; those of the step before the last are overwritten."""
    return f"latents-{step % 2}.bin"


def scheduler_file(step: int, chunk: int) -> str:
    """What the scheduler remembers of a chunk after so many steps."""
    return f"scheduler-{step % 2}-{chunk}.pt"


def texels_file(height: int, width: int, side: int) -> str:
    """The texels under the pixels of feature maps of one size, in textures of one size."""
    return f"texels-{height}x{width}-{side}.bin"

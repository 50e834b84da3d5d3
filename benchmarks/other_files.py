"""Files beside scenes that come from outside or from disks: one sample of each kind, and what reads it."""

import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

CAMERAS = [
    {"eye": [0, 1, 4], "target": [0, 0, 0], "up": [0, 1, 0], "yfov_deg": 45, "time": 0},
    {"eye": [1, 1, 4], "target": [0, 0, 0], "up": [0, 1, 0], "yfov_deg": 30, "time": 1},
]
LINES = [
    {"scene": "sample.obj", "prompt": "a red fox", "frames": 4, "seed": 1, "preset": "preview"},
    {"job": "blue", "scene": "sample.obj", "prompt": "a blue fox", "set": ["injection.alpha_end=0.4"]},
]
SETTINGS = {"prompt": "a red fox", "frames": 4, "size": "64", "preset": "fast", "camera": "orbit", "steps": 4}
EXR_MAP = {"depth": "Depth.Z", "u": "UV.U", "v": "UV.V", "object": "IndexOB.X", "yfov_deg": 40}


def make_other_samples(folder: Path) -> list[Path]:
    """Writes one of each, with the names that `READERS` has."""
    import torch
    from safetensors.torch import save_file

    from genrender.jobs.job import job_to_json
    from genrender.media.images import write_png
    from genrender.media.video import write_video
    from genrender.options.settings import job_of

    (folder / "cameras.json").write_text(json.dumps(CAMERAS))
    (folder / "exr_map.json").write_text(json.dumps(EXR_MAP))
    lines = [json.dumps(line | {"scene": str(folder / line["scene"])}) for line in LINES]
    (folder / "lines.jsonl").write_text("\n".join(lines))
    (folder / "settings.json").write_text(json.dumps(SETTINGS))
    (folder / "job.json").write_text(json.dumps(job_to_json(job_of(SETTINGS, folder / "sample.obj"))))
    picture = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    write_png(folder / "picture.png", picture, {"genrender": '{"prompt": "a red fox"}'})
    write_video(folder / "clip.mp4", [picture] * 3, 24.0, comment='{"prompt": "a red fox"}')
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    save_file(
        {f"{layer}.lora_down.weight": torch.ones(2, 8), f"{layer}.lora_up.weight": torch.ones(8, 2)},
        folder / "adapter.safetensors",
    )
    save_file({"emb_params": torch.ones(2, 16)}, folder / "word.safetensors")
    with zipfile.ZipFile(folder / "upload.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("scene/card.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
        packed.writestr("scene/card.mtl", "newmtl red\n")
    return [folder / name for name in READERS if (folder / name).exists()]


def _camera(path: Path) -> None:
    from genrender.scene.cameras.file import read_camera_file

    read_camera_file(path)(0.5)


def _exr_map(path: Path) -> None:
    from genrender.gbuffer.exr.channels import read_exr_map

    read_exr_map(path)


def _lines(path: Path) -> None:
    from genrender.batches.lines import read_tasks
    from genrender.errors import ConfigError
    from genrender.runs.hooks import SILENT

    for _, mistake in read_tasks(path, path.parent / "batch", SILENT).mistakes:
        raise ConfigError(mistake)


def _settings(path: Path) -> None:
    from genrender.errors import ConfigError
    from genrender.options.settings import job_of
    from genrender.storage.untrusted import read_json

    settings = read_json(path, ConfigError, "settings")
    if not isinstance(settings, dict):
        raise ConfigError("settings are no object")
    job_of(settings, path.with_name("sample.obj"))


def _job(path: Path) -> None:
    from genrender.errors import MediaError
    from genrender.jobs.job import job_from_json
    from genrender.storage.untrusted import read_json

    job_from_json(read_json(path, MediaError, "a job"))


def _picture(path: Path) -> None:
    from genrender.media.images import read_png, read_texts

    read_texts(path)
    read_png(path)


def _video(path: Path) -> None:
    from genrender.media.video import read_comment, read_video

    read_comment(path)
    read_video(path)


def _adapter(path: Path) -> None:
    from genrender.backbones.lora import read_lora
    from genrender.backbones.recipe import Lora
    from genrender.backbones.single_file import controlnet_settings, file_family, read_header
    from genrender.errors import ModelError

    read_lora(Lora(str(path)))
    header = read_header(path)
    controlnet_settings(header)
    try:
        file_family(header)
    except ModelError:
        return


def _word(path: Path) -> None:
    from genrender.backbones.embeddings import read_embedding

    read_embedding(str(path))


def _upload(path: Path) -> None:
    from genrender.server.uploads import UploadLimits, find_scene, unpack

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unpack(path, Path(folder), UploadLimits(10_000_000, 40))
        find_scene(Path(folder))


# By the sample's name.
READERS: dict[str, Callable[[Path], None]] = {
    "cameras.json": _camera,
    "exr_map.json": _exr_map,
    "lines.jsonl": _lines,
    "settings.json": _settings,
    "job.json": _job,
    "picture.png": _picture,
    "clip.mp4": _video,
    "adapter.safetensors": _adapter,
    "word.safetensors": _word,
    "upload.zip": _upload,
}

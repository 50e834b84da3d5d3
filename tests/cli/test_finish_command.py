"""What compositors take: alpha, linear EXR, cryptomattes, ProRes, upscaled frames, a sheet of seeds."""

import signal
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image
from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution
from warm import WarmProcess

import genrender.jobs.finish
from genrender.gbuffer.exr.cryptomatte import crypto_names, manifest
from genrender.gbuffer.exr.mattes import name_id
from genrender.jobs.upscale import Upscaler
from genrender.media.images import read_png
from genrender.media.video import read_video, write_video
from genrender.runs.finished import open_run
from genrender.runs.folder import RunFolder
from tests.cli.test_resume_command import stop_after

N_FRAMES, SIDE = 3, 64


@pytest.fixture
def words(scene, model):
    # The card's edges lie between pixels, so that some are covered in part.
    options = [
        "--prompt",
        "a red fox",
        "--model",
        str(model),
        "--animation",
        "Rise",
        "--frames",
        str(N_FRAMES),
    ]
    return ["render", str(scene), *options, "--steps", "2", "--size", str(SIDE), "--run-dir", "run"]


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory):
    folder = tmp_path_factory.mktemp("upscaler")
    torch.manual_seed(0)
    config = Swin2SRConfig(embed_dim=12, depths=[1], num_heads=[2], image_size=16, upscale=2)
    Swin2SRForImageSuperResolution(config).save_pretrained(folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def timestamps(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        return [Fraction(frame.pts) * stream.time_base for frame in container.decode(stream)]


def edit_start(path: Path) -> int:
    """The moment of the media at which the edit list begins: 0 says that it changes nothing."""
    data = path.read_bytes()
    at = data.index(b"elst") + 4
    assert int.from_bytes(data[at + 4 : at + 8]) == 1  # entries
    return int.from_bytes(data[at + 12 : at + 16])


def test_finish_adds_what_also_asks_for_after_a_resume_too(call, words, tmp_path, monkeypatch):
    assert call(*words, "--run-dir", "plain").code == 0
    assert call("finish", "plain", "--also", "alpha,exr,mattes,prores").code == 0
    with monkeypatch.context() as stopped:
        stop_after(1, stopped, KeyboardInterrupt())
        assert call(*words, "--also", "alpha,exr,mattes,prores").code == 130
    assert call("resume", "run").code == 0
    one, other = files(tmp_path / "plain"), files(tmp_path / "run")
    made = [name for name in one if name.split("/")[0] in ("alpha", "exr", "mattes")]
    assert len(made) == 3 * N_FRAMES
    assert {name: one[name] for name in made} == {name: other[name] for name in made}
    _check_files(RunFolder(tmp_path / "run"))


def _check_files(folder: RunFolder) -> None:
    run = open_run(folder.path)
    for frame in range(N_FRAMES):
        rgba = np.array(Image.open(folder.path / "alpha" / f"{frame:05d}.png"))
        picture, alpha = folder.frames()[frame], rgba[..., 3] / 255
        assert np.array_equal(rgba[..., :3], picture)  # straight: colours are as they were
        visible = run.clip.gbuffers[frame].visible
        inside, outside = alpha == 1, alpha == 0
        assert inside.any()
        assert outside.any()
        assert visible[inside].all()
        assert not visible[outside].any()
        _check_exr(folder.path / "exr" / f"{frame:05d}.exr", picture, alpha)
        _check_mattes(folder.path / "mattes" / f"{frame:05d}.exr", alpha)
    _check_prores(folder)


def _check_exr(path: Path, picture, alpha) -> None:
    with OpenEXR.File(str(path)) as file:
        rgba = file.channels()["RGBA"].pixels.astype(np.float64)
    assert np.abs(rgba[..., 3] - alpha).max() < 0.003
    covered = alpha == 1
    light = rgba[covered][:, :3]
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(srgb - picture[covered] / 255).max() < 1e-3  # half floats
    assert not rgba[alpha == 0].any()


def _check_mattes(path: Path, alpha) -> None:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        header, channels = dict(file.header()), {name: each.pixels for name, each in file.channels().items()}
    (name,) = crypto_names(header)
    assert manifest(header, name, path) == {name_id("card"): "card"}
    ids = channels[f"{name}00.R"].view(np.uint32)
    assert set(ids[alpha > 0].tolist()) == {name_id("card")}
    assert np.abs(channels[f"{name}00.G"] - alpha).max() < 0.003


def _check_prores(folder: RunFolder) -> None:
    path = folder.path / "prores.mov"
    rate = 1 / Fraction(folder.read_record().shot.fps).limit_denominator(1001)
    assert timestamps(path) == [k * rate for k in range(N_FRAMES)]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        # FFmpeg's decoder tells the alpha's 16 bits by a deeper format than was given to the encoder.
        assert (context.name, context.profile, context.codec_tag) == ("prores", "4444", "ap4h")
        assert (context.pix_fmt or "").startswith("yuva444p")
        for frame, decoded in enumerate(container.decode(stream)):
            rgba = np.array(Image.open(folder.path / "alpha" / f"{frame:05d}.png"))
            alpha = decoded.reformat(format="rgba").to_ndarray()[..., 3]
            assert np.abs(alpha.astype(int) - rgba[..., 3]).max() <= 1


@pytest.mark.parametrize("fps", [24, 25, 29.97, 60, 12.5])
def test_every_frame_of_a_video_lasts_exactly_one_over_the_rate(fps, tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path, [np.full((32, 32, 3), 20 * k, np.uint8) for k in range(9)], fps)
    assert timestamps(path) == [k / Fraction(fps).limit_denominator(1001) for k in range(9)]
    assert edit_start(path) == 0


def test_frames_are_enlarged_by_a_network(call, words, tmp_path, upscaler):
    assert call(*words).code == 0
    assert call("finish", "run", "--upscale", upscaler).code == 0
    pictures = RunFolder(tmp_path / "run").frames()
    network = Swin2SRForImageSuperResolution.from_pretrained(upscaler).eval()
    video, _ = read_video(tmp_path / "run" / "upscaled.mp4")
    assert video.shape == (N_FRAMES, 2 * SIDE, 2 * SIDE, 3)
    for frame, picture in enumerate(pictures):
        pixels = torch.tensor(picture / 255, dtype=torch.float32).permute(2, 0, 1)[None]
        with torch.no_grad():
            expected = network(pixel_values=pixels).reconstruction[0].clamp(0, 1).permute(1, 2, 0).numpy()
        larger = read_png(tmp_path / "run" / "upscaled" / f"{frame:05d}.png")
        assert np.abs(larger - 255 * expected).max() < 0.51


def test_a_network_computes_where_it_is_told_after_a_stop_too(
    call, words, tmp_path, upscaler, device, monkeypatch
):
    assert call(*words).code == 0

    def larger():
        return np.stack([read_png(path) for path in sorted((tmp_path / "run" / "upscaled").iterdir())])

    assert call("finish", "run", "--upscale", upscaler, "--device", "cpu").code == 0
    expected = larger().astype(int)
    enlarge, used = Upscaler.__call__, []

    def enlarge_until_stopped(self, picture):
        used.append(self.model.device.type)
        if len(used) == 2:
            raise KeyboardInterrupt
        return enlarge(self, picture)

    monkeypatch.setattr(Upscaler, "__call__", enlarge_until_stopped)
    assert call("finish", "run", "--upscale", upscaler, "--device", device).code == 130
    assert call("resume", "run").code == 0
    assert used == [device.type] * (N_FRAMES + 1)  # the frame at which it was stopped once more
    assert np.abs(larger() - expected).max() <= 1


def test_a_sheet_of_seeds_makes_no_run(call, words, tmp_path):
    assert call(*words, "--seeds", "3-4,3").code == 0
    assert not (tmp_path / "run").exists()
    sheet = read_png(tmp_path / "run-seeds.png")
    cells = 192  # of both rows, and as many columns as the clip has frames
    assert sheet.shape[0] > 2 * cells
    assert sheet.shape[1] > N_FRAMES * cells
    assert call(*words, "--seed", "4").code == 0  # three frames are all that the clip has: the same ones
    frame = RunFolder(tmp_path / "run").frames()[0].repeat(3, axis=0).repeat(3, axis=1)
    assert _holds(sheet, frame)


def test_a_sheet_of_seeds_shows_a_few_frames_of_a_long_clip(call, words, tmp_path):
    assert call(*words, "--frames", "30", "--seeds", "3").code == 0
    assert 4 * 192 < read_png(tmp_path / "run-seeds.png").shape[1] < 6 * 192


def _holds(sheet, picture) -> bool:
    height, width = picture.shape[:2]
    starts = np.argwhere((sheet[: -height + 1, : -width + 1] == picture[0, 0]).all(axis=2))
    return any(np.array_equal(sheet[y : y + height, x : x + width], picture) for y, x in starts)


def test_a_network_out_of_reach_is_told_with_what_to_fetch(call, words, tmp_path, monkeypatch):
    monkeypatch.setattr("genrender.backbones.hub.is_reachable", lambda: False)
    result = call(*words, "--upscale", "somebody/larger")
    assert (result.code, len(result.err.strip().splitlines())) == (2, 1)
    assert "`hf download somebody/larger --include '*.safetensors' '*.json'" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--also", "alpha,tiff"], "there is no 'tiff', expected some of alpha, exr, mattes, prores"),
        (["--upscale", "nowhere"], "no upscaler nowhere"),
        (["--upscale", " "], "no upscaler  : ' ' is no folder here, and no model of a hub is called so"),
        (["--seeds", "7-0"], "--seeds '7-0': expected at most 64 numbers"),
        (["--seeds", "0-100"], "--seeds '0-100': expected at most 64 numbers"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(call, words, tmp_path, options, told):
    result = call(*words, *options)
    assert result.code == 2
    assert told in result.err
    assert not (tmp_path / "run").exists()


def test_finish_without_a_wish_or_a_run(call, tmp_path):
    (tmp_path / "run").mkdir()
    assert "nothing to add" in call("finish", "run").err
    assert call("finish", "run", "--also", "alpha").code == 2
    assert "no run folder gone" in call("finish", "gone", "--also", "alpha").err


def kept(run: Path, kind: str) -> list[Path]:
    return sorted((run / "finishing" / kind).glob("[0-9]*"))


def killed(words: list[str], until) -> None:
    """A process that gets SIGKILL as soon as something is there."""
    said = Path("said.txt")
    process = WarmProcess(["-m", "genrender", *words], stderr=said)
    deadline = time.monotonic() + 120
    while not until() and process.is_alive and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL, said.read_text()


@pytest.mark.slow
def test_what_is_killed_while_files_are_added_goes_on(call, words, tmp_path, upscaler):
    """Once in `render`, once more in `resume`, which `finish` then carries on with."""
    words = [*words, "--frames", "12", "--size", "128", "--steps", "1"]
    also = ["--also", "mattes,alpha,exr", "--upscale", str(upscaler)]
    assert call(*words, "--run-dir", "whole").code == 0
    assert call("finish", "whole", *also).code == 0
    run = tmp_path / "run"
    killed([*words, *also], lambda: len(kept(run, "mattes")) >= 2)
    assert not (run / "mattes").exists()
    assert not (run / "unfinished").exists()
    first = kept(run, "mattes")
    assert 2 <= len(first) < 12
    times = [file.stat().st_mtime_ns for file in first]
    killed(["resume", "run"], lambda: len(kept(run, "alpha")) >= 1)
    assert [file.stat().st_mtime_ns for file in first] == times  # not made again
    assert len(kept(run, "alpha")) < 12
    result = call("resume", "run")
    assert result.code == 0, result.err
    for name in ("mattes", "alpha", "exr", "upscaled", "upscaled.mp4"):
        assert f"{name} " in result.out
    whole, other = files(tmp_path / "whole"), files(run)
    assert whole.keys() == other.keys()
    made = [name for name in whole if name.split("/")[0] in ("mattes", "alpha", "exr", "upscaled")]
    assert len(made) == 4 * 12
    assert {name: whole[name] for name in made} == {name: other[name] for name in made}
    assert "is finished already" in call("resume", "run").err


def interrupted_after(n_frames: int, monkeypatch) -> None:
    """Ctrl-C when so many frames have their alpha."""
    original, found = genrender.jobs.finish.object_alpha, []

    def alpha(clip, frame):
        if len(found) == n_frames:
            raise KeyboardInterrupt
        found.append(frame)
        return original(clip, frame)

    monkeypatch.setattr(genrender.jobs.finish, "object_alpha", alpha)


def test_kept_frames_count_for_the_same_frames_and_scene_alone(call, words, tmp_path, scene, monkeypatch):
    own, run = tmp_path / "scene.glb", tmp_path / "run"
    own.write_bytes(scene.read_bytes())
    assert call("render", own, *words[2:]).code == 0

    def stopped() -> None:
        with monkeypatch.context() as stop:
            interrupted_after(2, stop)
            result = call("finish", "run", "--also", "alpha")
        assert result.code == 130
        assert "go on from the last frame with: genrender resume run" in result.err
        assert len(kept(run, "alpha")) == 2

    def finished() -> int:
        """How many frames were looked at."""
        seen = []
        original = genrender.jobs.finish.object_alpha
        with monkeypatch.context() as watched:
            watched.setattr(
                genrender.jobs.finish,
                "object_alpha",
                lambda clip, frame: (seen.append(frame), original(clip, frame))[1],
            )
            assert call("finish", "run", "--also", "alpha").code == 0
        assert not (run / "finishing").exists()
        return len(seen)

    stopped()
    assert finished() == N_FRAMES - 2
    stopped()
    one, other = np.float32(1).tobytes(), np.float32(1.25).tobytes()
    own.write_bytes(scene.read_bytes().replace(one, other))  # the scene has changed
    assert finished() == N_FRAMES
    own.write_bytes(scene.read_bytes())
    stopped()
    frame = run / "frames" / "00000.png"
    Image.fromarray(255 - np.array(Image.open(frame))).save(frame)  # a frame has
    assert finished() == N_FRAMES
    stopped()
    assert call("render", own, *words[2:], "--seed", "5").code == 0  # another run is here
    assert not (run / "finishing").exists()


def test_what_fails_before_it_begins_leaves_nothing(call, words, tmp_path, scene):
    own = tmp_path / "scene.glb"
    own.write_bytes(scene.read_bytes())
    assert call("render", own, *words[2:]).code == 0
    before = files(tmp_path / "run")
    own.unlink()
    assert call("finish", "run", "--also", "alpha").code == 2
    assert files(tmp_path / "run") == before


def test_a_damaged_request_is_told(call, words, tmp_path, monkeypatch):
    assert call(*words).code == 0
    with monkeypatch.context() as stop:
        interrupted_after(1, stop)
        call("finish", "run", "--also", "alpha")
    request = tmp_path / "run" / "finishing" / "request.json"
    request.write_text(request.read_text()[:-20])
    result = call("resume", "run")
    assert result.code == 2
    assert "give genrender finish with its options again" in result.err
    assert call("finish", "run", "--also", "alpha").code == 0
    assert len(list((tmp_path / "run" / "alpha").iterdir())) == N_FRAMES

"""What a result tells of its making: all of the settings, and none of the folders."""

import numpy as np
import pytest
from PIL import Image

from genrender.errors import MediaError
from genrender.media.images import read_texts, with_texts, write_png
from genrender.media.video import read_comment, write_video
from genrender.runs.told import KEY, Told, read_told, told_words


def test_words_keep_what_the_video_depends_on_and_no_folder():
    command = [
        *(
            "genrender",
            "render",
            "/home/me/fox.glb",
            "--prompt",
            "a /red/ fox",
            "--frames=3",
            "--run-dir",
            "/home/me/r",
        ),
        *("--out=/x.mp4", "--debug", "--device", "cuda:1", "--loop", "--camera=/home/me/c.json", "--lora"),
        *("../mine/ink=2.safetensors:0.8", "--controlnet=normal=/home/me/n.safetensors:0.7,0,0.5"),
        *("--model", "owner/name", "--vae=C:\\me\\vae", "--camera=scene:Dolly/2", "--allow-folder", "/home"),
    ]
    assert told_words(command) == (
        *(
            "--prompt",
            "a /red/ fox",
            "--frames=3",
            "--loop",
            "--camera=c.json",
            "--lora=ink=2.safetensors:0.8",
        ),
        *(
            "--controlnet=normal=n.safetensors:0.7,0,0.5",
            "--model=owner/name",
            "--vae=vae",
            "--camera=scene:Dolly/2",
        ),
    )


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"genrender": 1}', '{"genrender": "1", "scene": "x", "words": "y"}']
)
def test_other_texts_tell_nothing(text):
    assert read_told(text) is None


def test_a_scene_is_a_name_whatever_a_file_says():
    text = '{"genrender": "1", "scene": "../../etc/C:\\\\x\\\\fox.glb", "words": ["--prompt=x"]}'
    assert read_told(text) == Told("fox.glb", ("--prompt=x",))


def test_texts_go_into_pictures_and_leave_their_pixels(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    text = "a fox, Füchsin 🦊\n" + "x" * 5000
    write_png(tmp_path / "plain.png", picture)
    write_png(tmp_path / "told.png", picture, {KEY: text})
    (tmp_path / "later.png").write_bytes(with_texts((tmp_path / "plain.png").read_bytes(), {KEY: text}))
    assert read_texts(tmp_path / "plain.png") == {}
    for name in ("told.png", "later.png"):
        assert read_texts(tmp_path / name) == {KEY: text}
        assert (np.asarray(Image.open(tmp_path / name)) == picture).all()
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"no\.png"):
        read_texts(tmp_path / "no.png")


def test_a_comment_goes_into_a_video_which_is_else_the_same(tmp_path):
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    for name, comment in (("plain.mp4", None), ("told.mp4", '{"a": "Füchsin 🦊"}')):
        write_video(tmp_path / name, frames, 24, comment)
        assert read_comment(tmp_path / name) == comment
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"no\.mp4"):
        read_comment(tmp_path / "no.mp4")

"""The API as its documentation tells it: scenes, the viewer, checks, refusals, files."""

import io
import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image
from server.scene_files import SCENES

from genrender.gbuffer.control import inverse_depth_range
from genrender.gbuffer.exr.frame import write_exr
from genrender.gbuffer.preview import depth_picture, object_picture
from genrender.scene.load import load_scene
from genrender.server import answers
from genrender.shots.clip import ShotConfig, render_clip

VIEW = {"settings": {"frames": 6, "camera": "orbit"}, "frame": 2, "width": 48, "height": 32}
JOB = {"prompt": "a red fox", "frames": 3, "steps": 2, "size": "64"}


def picture_of(answer):
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_a_scene_is_told_when_it_comes_and_later(client, biped):
    told = client.get(f"/api/scenes/{biped}").json()
    assert told["name"] == "walking_biped.glb"
    assert [animation["name"] for animation in told["report"]["animations"]] == ["Walk", "Dance"]
    assert re.fullmatch("#[0-9a-f]{6}", told["report"]["objects"][0]["color"])
    assert told["report"]["objects"][0]["words"].startswith("Its texture coordinates are fine")
    assert biped in [scene["id"] for scene in client.get("/api/scenes").json()["scenes"]]


def test_the_example_is_a_scene_like_any_other(client):
    told = client.post("/api/scenes/example").json()
    assert told["report"]["plays"] == "Walk"
    assert client.delete(f"/api/scenes/{told['id']}").status_code == 204
    assert client.get(f"/api/scenes/{told['id']}").status_code == 404


@pytest.mark.parametrize("mode", ["depth", "objects"])
def test_a_view_is_what_the_model_gets(client, biped, mode):
    clip = render_clip(
        load_scene(SCENES / "walking_biped.glb"), ShotConfig((48, 32), n_frames=6, camera="orbit")
    )
    seen = clip.gbuffers[2]
    expected = (
        object_picture(seen) if mode == "objects" else depth_picture(seen, inverse_depth_range(clip.gbuffers))
    )
    shown = picture_of(client.post(f"/api/scenes/{biped}/view", json=VIEW | {"mode": mode}))
    assert (shown == expected).all()


def test_the_camera_of_a_viewer_is_a_camera_for_a_run(client, biped):
    orbit = {"azimuth_deg": 70, "elevation_deg": -5, "distance": 0.8, "pan": [0.2, -0.1], "yfov_deg": 30}
    free = client.post(f"/api/scenes/{biped}/view", json=VIEW | {"orbit": orbit, "mode": "objects"})
    camera = json.loads(free.headers["X-View"])["camera"]
    settings = VIEW["settings"] | {"camera": camera}
    through = client.post(f"/api/scenes/{biped}/view", json=VIEW | {"settings": settings, "mode": "objects"})
    assert (picture_of(free) == picture_of(through)).all()
    assert picture_of(free).any()


def test_a_camera_passes_the_views_that_were_kept(client, biped):
    """Two views of the viewer, each with its moment, as one setting: both are seen when they were kept."""

    def seen(frame, **more):
        answer = client.post(
            f"/api/scenes/{biped}/view", json=VIEW | {"frame": frame, "mode": "depth"} | more
        )
        return picture_of(answer), json.loads(answer.headers["X-View"])["camera"]

    orbits = {1: {"azimuth_deg": 70, "distance": 1.2}, 5: {"azimuth_deg": -20, "distance": 0.8}}
    kept = {frame: seen(frame, orbit=orbit)[1] for frame, orbit in orbits.items()}
    settings = VIEW["settings"] | {"camera": [one | {"orbit": True} for one in kept.values()]}
    for frame, camera in kept.items():
        passed = seen(frame, settings=settings)[1]
        for name in ("eye", "target", "up", "yfov_deg", "time"):
            assert passed[name] == pytest.approx(camera[name], abs=1e-5)
    between = seen(3, settings=settings)[1]["eye"]
    assert all(np.linalg.norm(np.subtract(between, one["eye"])) > 0.1 for one in kept.values())
    # It circles around what both look at.
    away = [np.linalg.norm(np.subtract(one["eye"], one["target"])) for one in kept.values()]
    target = kept[1]["target"]
    assert np.linalg.norm(np.subtract(between, target)) == pytest.approx(np.sqrt(np.prod(away)), rel=1e-3)


def test_a_pixel_tells_its_object(client, biped):
    shown = picture_of(client.post(f"/api/scenes/{biped}/view", json=VIEW | {"mode": "shaded"}))
    inside, outside = np.argwhere(shown[..., 3] == 255)[0], np.argwhere(shown[..., 3] == 0)[0]
    for (y, x), name in ((inside, "biped"), (outside, None)):
        asked = VIEW | {"x": float(x) + 0.5, "y": float(y) + 0.5}
        assert client.post(f"/api/scenes/{biped}/pick", json=asked).json()["name"] == name


def test_a_shot_has_the_size_of_the_model(client, biped):
    told = client.post(f"/api/scenes/{biped}/shot", json={"settings": {"animation": "Walk"}}).json()
    assert (told["width"], told["height"], told["n_frames"], told["fps"]) == (128, 128, 25, 24)


def test_a_check_says_what_the_command_line_would(client, biped):
    asked = {"scene": biped, "settings": JOB | {"prompt": "a red dragon 🐉 strippd"}}
    told = client.post("/api/check", json=asked).json()
    assert told["error"] is None
    assert (told["n_frames"], told["width"], told["steps"]) == (3, 64, 2)
    assert told["warnings"] == [
        "the model does not know these words of the prompt: dragon, strippd (try striped)"
    ]
    # JavaScript counts the dragon as two.
    assert told["unknown"][1] == {"word": "strippd", "start": 16, "end": 23, "suggestion": "striped"}
    told = client.post("/api/check", json={"scene": biped, "settings": JOB | {"size": "62"}}).json()
    assert told["error"].startswith("size is 62x62, expected multiples of 4")
    assert told["field"] == "size"


@pytest.mark.parametrize(
    ("settings", "status", "words", "field"),
    [
        ({"frames": "many"}, 422, 'frames is "many", expected a whole number or null', "frames"),
        ({"colour": "red"}, 422, "there is no setting 'colour'", None),
        ({"steps": 31}, 422, "steps is 31, expected at most 30 on this server", "steps"),
        ({"frames": 101}, 422, "frames is 101, expected at most 100 on this server", "frames"),
        ({"size": "264"}, 422, "size is 264, expected at most 256 on this server", "size"),
        ({"prompt": " "}, 422, "the prompt is empty; say what the clip shows", "prompt"),
        ({"animation": "Fly"}, 422, "Fly", None),
        ({"model": "/etc/passwd"}, 422, "model is '/etc/passwd', expected one of pocket", "model"),
        (
            {"lora": ["../x.safetensors:0.5"]},
            422,
            "lora is '../x.safetensors', expected one of pocket",
            "lora",
        ),
        ({"controlnet": ["normal=/x:1"]}, 422, "controlnet is '/x', expected one of", "controlnet"),
        ({"ip_adapter": ["/x"], "ip_image": ["../../etc/passwd"]}, 404, "there is no picture", None),
        ({"camera": "/etc/camera.json"}, 422, "camera is a file, expected the camera itself", "camera"),
        ({"camera": {"eye": [0, 0, 0], "target": [0, 0, 0]}}, 422, "eye and target at the same place", None),
        ({"camera": {"eye": "near"}}, 422, "the camera: camera 0 has eye 'near', expected", None),
        ({"ip_image": ["x" * 400]}, 404, "there is no picture", None),
        ({"appearance_from": "../runs"}, 404, "there is no run ../runs", None),
        ({"appearance_from": "\ud800"}, 404, "there is no run", None),
        ({"seed": 1e400}, 422, "", None),
        ({"prompt": "x" * 20_000}, 422, "", "prompt"),
        ({"seeds": 4}, 422, "seeds is no text, expected numbers such as 0-3 or 1,5,9", "seeds"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_nothing_is_queued(
    client, biped, settings, status, words, field
):
    body = json.dumps({"scene": biped, "settings": JOB | settings})
    answer = client.post("/api/runs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert words in told["error"]
    assert "\n" not in told["error"]
    assert "Traceback" not in answer.text
    if field is not None:
        assert told["field"] == field
    assert client.get("/api/runs").json()["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        '"x"',
        '{"settings": 3}',
        '{"scene": 3}',
        '{"other": 1}',
        '{"settings": {"prompt": "\\ud800"}}',
        "\x00",
    ],
)
def test_requests_that_are_none_are_told_as_such(client, body):
    answer = client.post("/api/runs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert set(answer.json()) == {"error", "field"}


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/api/scenes/..%2f..",
            "/api/scenes/x",
            "/api/runs/..",
            "/api/runs/x/video.mp4",
            "/api/runs/x/frames/0.png",
        ),
        *("/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/api/runs/x/..%2fstudio.sqlite"),
        *("/docs", "/redoc", "/openapi.json", "/api/none"),
    ],
)
def test_what_is_not_there_is_told_and_no_path_leads_out(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422), answer.text
    assert set(answer.json()) == {"error", "field"}


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return made.getvalue()


# A scene whose buffer lies where a server lets nobody lead it.
LEADS_OUT = json.dumps(
    {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": "../elsewhere.bin", "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
).encode()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("out.gltf", LEADS_OUT, "outside the scene's folder; send both at once, or a zip of the folder"),
        ("broken.glb", b"glTF" + b"\0" * 50, "broken.glb"),
        ("empty.glb", b"", "empty.glb"),
        ("notes.txt", b"hello", "no scene is called like that, expected .gltf"),
        ("scene.fbx", b"Kaydara", "FBX is not read; open it in Blender"),
        ("scene.zip", b"PK nothing", "zip"),
        ("scene.zip", zipped({"readme.txt": b"x"}), "no file that is known"),
        ("scene.zip", zipped({"a.glb": b"x", "b.glb": b"y"}), "a.glb, b.glb, expected one scene"),
        ("bomb.zip", zipped({"a.glb": b"\0" * 3_000_000}), "more than 2 MB"),
        ("out.zip", zipped({"../../a.glb": b"x"}), "no file that is known"),
        ("many.zip", zipped({f"{i}.obj": b"" for i in range(50)}), "holds 50 files, expected at most 40"),
        (
            "two.zip",
            zipped({"x/a/1.exr": b"x", "y/b/1.exr": b"x"}),
            "the EXR files lie in 2 folders, expected one folder of one shot",
        ),
        ("x.exr", b"\x76\x2f\x31\x01", "x.exr"),
        ("\x1b[2J<b>.glb", b"", "2J_b.glb"),
    ],
)
def test_files_that_are_no_scenes_are_told_and_leave_nothing(studio, client, name, data, words):
    before = sorted(studio.scenes.iterdir())
    answer = client.post("/api/scenes", files={"file": (name, data)})
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["error"]
    assert str(studio.folder) not in answer.text
    assert sorted(studio.scenes.iterdir()) == before
    assert list((studio.folder / "work").iterdir()) == []


def test_uploads_that_are_too_large_are_told(client):
    told = client.post("/api/scenes", files={"file": ("a.glb", b"\0" * 2_500_000)})
    assert (told.status_code, told.json()["error"][:24]) == (413, "the upload has more than")
    told = client.post("/api/scenes", files={"file": ("a.glb", b"\0" * 5_000_000)})
    assert (told.status_code, told.json()["error"][:20]) == (413, "the request has 5 MB")
    for broken, words in (
        ({"content": b"x"}, "no form with files"),
        ({"data": {"a": "b"}}, "no form with files"),
        ({"files": {"a": (None, "b")}}, "holds no file: choose one"),
        (
            {"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            "holds no file: choose one",
        ),
    ):
        told = client.post("/api/scenes", **broken)
        assert (told.status_code, words in told.json()["error"]) == (422, True), told.text


def test_a_zip_with_a_scene_and_what_belongs_to_it_is_read(client):
    glb = (SCENES / "walking_biped.glb").read_bytes()
    told = client.post(
        "/api/scenes",
        files={"file": ("it.zip", zipped({"in/walk.glb": glb, "in/read.me": b"", "__MACOSX/x.glb": b""}))},
    )
    assert told.status_code == 201, told.text
    assert told.json()["report"]["file"] == "walk.glb"


def test_passes_from_other_software_come_as_a_zip(client, tmp_path):
    clip = render_clip(load_scene(SCENES / "still_life.glb"), ShotConfig((64, 48), n_frames=2))
    for frame, gbuffer in enumerate(clip.gbuffers):
        write_exr(tmp_path / f"shot_{frame:04d}.exr", gbuffer)
    packed = zipped({f"passes/{file.name}": file.read_bytes() for file in sorted(tmp_path.iterdir())})
    told = client.post("/api/scenes", files={"file": ("shot.zip", packed)}).json()
    assert (told["kind"], told["report"]["size"], told["report"]["frames"]) == ("exr", [64, 48], [0, 1])
    scene = told["id"]
    shown = picture_of(
        client.post(f"/api/scenes/{scene}/view", json={"mode": "objects", "width": 64, "height": 48})
    )
    assert (shown == object_picture(clip.gbuffers[0])).all()
    assert picture_of(client.post(f"/api/scenes/{scene}/view", json={"width": 32, "height": 24})).shape == (
        24,
        32,
        4,
    )
    checked = client.post(
        "/api/check", json={"scene": scene, "settings": {"prompt": "a red ball", "steps": 2}}
    ).json()
    assert (checked["error"], checked["width"], checked["n_frames"]) == (None, 64, 2)
    refused = client.post(f"/api/scenes/{scene}/view", json={"orbit": {}})
    assert (refused.status_code, "EXR" in refused.json()["error"]) == (422, True)


def test_settings_and_models_say_what_there_is(client):
    groups = client.get("/api/settings").json()["groups"]
    named = {setting["name"]: setting for group in groups for setting in group["settings"]}
    assert {"prompt", "camera", "preset", "set", "prompt_for", "lock"} < named.keys()
    assert not {"out", "run_dir", "debug", "exr_map", "allow_folder", "allow_pickle", "device"} & named.keys()
    assert all(setting["about"] for setting in named.values())
    assert named["preset"]["choices"] == ["balanced", "fast", "preview", "paper"]
    models = client.get("/api/models").json()
    assert "red" in models["models"][0]["words"]["colours"]
    assert models["presets"][1] == {
        "name": "fast",
        "settings": {"steps": 10, "scheduler": "dpm++", "guidance": None},
    }
    words = client.post("/api/words", json={"text": "a fox"}).json()
    assert words == {"unknown": []}
    assert client.post("/api/words", json={"model": "/", "text": "a"}).status_code == 422


def test_the_description_is_there_for_programs(client):
    told = client.get("/api/openapi.json").json()
    assert "/api/runs/{run}/resume" in told["paths"]
    assert told["paths"]["/api/scenes"]["post"]["requestBody"]["content"].keys() == {"multipart/form-data"}
    for path, methods in told["paths"].items():
        for method, one in methods.items():
            for status, answer in one["responses"].items():
                form = answer.get("content", {}).get("application/json")
                # Files have kinds of their own, and no form.
                assert form is None or form["schema"].get("$ref"), (path, method, status)
    assert client.get("/favicon.ico").headers["Content-Type"] == "image/svg+xml"


def test_answers_have_the_form_that_is_described(client, biped):
    scene, settings = f"/api/scenes/{biped}", {"settings": {"frames": 3}}
    for answer, form in (
        (client.get("/api/scenes"), answers.Scenes),
        (client.get(scene), answers.Scene),
        (client.post(f"{scene}/inspect", json=settings), answers.Scene),
        (client.post(f"{scene}/shot", json=settings), answers.Shot),
        (client.post(f"{scene}/pick", json=VIEW | {"x": 1, "y": 1}), answers.Picked),
        (client.post("/api/words", json={"text": "a dragon"}), answers.Unknown),
        (client.post("/api/check", json={"scene": biped, "settings": JOB}), answers.Check),
        (client.post("/api/check", json={"scene": biped, "settings": {}}), answers.Check),
        (client.get("/api/runs"), answers.Runs),
        (client.get("/api/runs/none"), answers.Error),
        (client.get("/none"), answers.Error),
    ):
        form.model_validate(answer.json())


def test_pictures_are_taken_and_others_refused(client):
    made = io.BytesIO()
    Image.new("RGB", (8, 4)).save(made, "PNG")
    told = client.post("/api/pictures", files={"file": ("look.png", made.getvalue())})
    assert (told.json()["width"], told.json()["height"]) == (8, 4)
    told = client.post("/api/pictures", files={"file": ("look.svg", b"<svg/>")})
    assert (told.status_code, "expected a PNG" in told.json()["error"]) == (422, True)
    wide = io.BytesIO()
    Image.new("RGB", (4097, 1)).save(wide, "PNG")
    told = client.post("/api/pictures", files={"file": ("wide.png", wide.getvalue())})
    assert (told.status_code, "wide.png: has 4097x1 pixels" in told.json()["error"]) == (422, True)

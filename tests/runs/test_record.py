"""A run's config.json, damaged in every entry that anything reads: one line that says which, and no more."""

import copy
import json
import random
from dataclasses import MISSING, fields, replace

import pytest

from genrender.cli import main
from genrender.errors import MediaError
from genrender.runs.record import (
    NetworksRecord,
    SettingsRecord,
    ShotRecord,
    read_record,
)
from genrender.shots.clip import ShotConfig

RECORD = {
    "config": {
        "scene": "/nowhere/card.glb",
        "animation_index": 0,
        "camera": "orbit",
        "loop": False,
        "backdrop": "none",
        "uv": "auto",
        "objects": {"by": "node", "merge": [["a*", "b"]], "ignore": []},
        "width": 64,
        "height": 64,
        "fps": 24.0,
        "n_frames": 2,
        "times_s": [0.0, 0.5],
        "atlas_ids": {"card": [1]},
        "prompt": "a red fox",
        "n_steps": 2,
        "sampler": "model",
        "device": "cpu",
        "cost": {"seconds_per_frame": 0.5, "peak_memory_mb": 500.0, "gpu_peak_memory_mb": None},
    },
    "seed": 0,
    "command": ["genrender", "render"],
    "created": "2026-01-01T00:00:00+00:00",
    "versions": {"genrender": "0.1.0"},
}
REQUIRED = sorted(
    [
        *("cost", "device"),
        *(
            one.name
            for part in (ShotRecord, SettingsRecord, NetworksRecord)
            for one in fields(part)
            if one.default is MISSING and one.default_factory is MISSING and one.name != "device"
        ),
    ]
)
JUNK = (None, True, -1, 0.5, 10**30, 1e308, "x", "", [], [[]], [None], {}, {"a": 1})


def written(tmp_path, record):
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    return tmp_path / "run"


def places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from places(inner)


def test_a_whole_record_is_read(tmp_path):
    stored = copy.deepcopy(RECORD)
    stored["config"] |= {"method": {"noise": {"mode": "fixed"}}, "seed": 0, "allowed_folders": ["/a"]}
    record = read_record(written(tmp_path, {**stored, "more": 1}) / "config.json")
    assert record.making.settings.others == {"method": {"noise": {"mode": "fixed"}}, "seed": 0}
    assert record.shot.allowed_folders == ("/a",)
    assert record.shot.shot_config() == ShotConfig(
        (64, 64), animation="0", fps=24.0, times_s=(0.0, 0.5), camera="orbit", objects=record.shot.objects
    )
    assert record.shot.objects.merge == (("a*", "b"),)
    again = read_record(written(tmp_path, json.loads(json.dumps(record.to_json()))) / "config.json")
    assert again == record
    config = json.loads(json.dumps(again.to_json()))["config"]
    assert {name: config[name] for name in stored["config"]} == stored["config"]


def test_shots_differ_in_what_they_show_alone(tmp_path):
    shot = read_record(written(tmp_path, RECORD) / "config.json").shot
    assert shot.difference(replace(shot, fps=25.0, atlas_ids={})) is None
    assert shot.difference(replace(shot, width=32)) == "width"
    assert shot.difference(replace(shot, exr_frames=(1, 2))) == "exr_frames"


def test_exr_files_have_no_folders_beside_them(tmp_path):
    """As earlier versions wrote it: an entry more would keep what they began from being gone on with."""
    passes = {"depth": None, "u": None, "v": None, "object": None, "depth_is": "planar"}
    stored = copy.deepcopy(RECORD)
    stored["config"] |= {"exr_map": {**passes, "yfov_deg": None, "v_up": None}, "exr_frames": [1, 2]}
    record = read_record(written(tmp_path, stored) / "config.json")
    assert "allowed_folders" not in record.making.entries()
    of_scene = replace(record.making, shot=replace(record.shot, exr_map=None, exr_frames=None))
    assert of_scene.entries()["allowed_folders"] == ()


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_entry_is_named(tmp_path, name):
    record = copy.deepcopy(RECORD)
    del record["config"][name]
    with pytest.raises(MediaError, match=rf"config\.json: config\.{name} is missing; .*render the run again"):
        read_record(written(tmp_path, record) / "config.json")


@pytest.mark.parametrize("name", REQUIRED)
def test_an_entry_of_another_kind_is_named_with_what_was_found(tmp_path, name):
    record = copy.deepcopy(RECORD)
    record["config"][name] = {"width": []} if name not in ("objects", "cost", "atlas_ids") else 3
    found = "3" if isinstance(record["config"][name], int) else "an object with entries"
    with pytest.raises(MediaError, match=rf"config\.json: config\.{name} is {found}, expected "):
        read_record(written(tmp_path, record) / "config.json")


@pytest.mark.parametrize("frames", [{}, {"exr_frames": []}])
def test_passes_of_no_frames_are_named(tmp_path, frames):
    passes = {"depth": None, "u": None, "v": None, "object": None, "depth_is": "planar"}
    record = copy.deepcopy(RECORD)
    record["config"] |= {"exr_map": {**passes, "yfov_deg": None, "v_up": None}, **frames}
    with pytest.raises(MediaError, match=r"config\.json: config\.exr_frames is missing; "):
        read_record(written(tmp_path, record) / "config.json")


@pytest.mark.parametrize("content", ["", "[]", "null", "3", "[" * 100_000, '{"config": 1e999}', "\xff"])
def test_no_record_at_all(tmp_path, content):
    folder = written(tmp_path, {})
    (folder / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises(MediaError) as raised:
        read_record(folder / "config.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("command", [["evaluate", "RUN"], ["diagnose", "RUN"], ["resume", "RUN"]])
def test_commands_refuse_any_damage_in_one_line(tmp_path, capsys, command):
    rng = random.Random(str(command))
    for _ in range(40):
        record = copy.deepcopy(RECORD)
        for _ in range(rng.choice((1, 1, 2))):
            parent, key = rng.choice(list(places(record)))
            if rng.random() < 0.2:
                del parent[key]
            else:
                parent[key] = copy.deepcopy(rng.choice(JUNK))
        folder = written(tmp_path, record)
        code = main([str(folder) if word == "RUN" else word for word in command])
        captured = capsys.readouterr()
        # The scene is not there, so whatever gets so far is refused, too; a finished run is not gone on with.
        assert code == (0 if command[0] == "resume" else 2)
        assert captured.err.count("\n") == 1, captured.err

"""What is too large is refused before any work begins, by every road to a clip."""

import pytest
from scene.gltf_builder import one_triangle

from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.store import StoredGBuffers
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, plan_shot, render_clip
from genrender.storage import limits
from genrender.storage.checked_file import CHECKSUM_BYTES
from genrender.storage.limits import bytes_as_text, bytes_on_disk, check_disk, check_extent, check_memory


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return load_scene(one_triangle().save(tmp_path_factory.mktemp("scene") / "card.glb"))


@pytest.mark.parametrize("size", [(1, 1), (8192, 4352), (4352, 8192), (16_384, 100)])
def test_a_video_may_be_as_large_as_its_format_allows(monkeypatch, size):
    monkeypatch.setattr(limits, "available_memory", lambda: 10**12)
    check_extent(*size, n_frames=99_999)


@pytest.mark.parametrize(
    ("width", "height", "n_frames", "said"),
    [
        (8192, 4353, 1, "expected at most 8192x4352"),
        (100_000, 8, 1, "no side above 16384"),
        (0, 8, 1, "expected at least 1x1"),
        (8, 8, 0, "expected at least 1"),
        (8, 8, 100_000, "number of frames is 100000, expected at most 99999"),
    ],
)
def test_what_no_file_could_hold_is_refused(width, height, n_frames, said):
    with pytest.raises(ConfigError, match=said):
        check_extent(width, height, n_frames)


def test_pictures_that_do_not_fit_into_memory_are_refused(monkeypatch):
    needed = limits.RAY_CASTING_BYTES * 1000 * 1000
    monkeypatch.setattr(limits, "available_memory", lambda: needed)
    check_extent(1000, 1000, 1)
    monkeypatch.setattr(limits, "available_memory", lambda: needed - 1)
    with pytest.raises(ConfigError, match="pictures of 1000x1000 pixels need at least 110 MB of memory"):
        check_extent(1000, 1000, 1)


def test_the_memory_of_another_device_counts_for_it():
    with pytest.raises(ConfigError, match=r"maps need at least 2.0 GB of memory, and 1.0 GB are free"):
        check_memory(2 * 10**9, "maps", available_bytes=10**9)


def test_a_disk_that_is_too_small_is_told_with_what_to_free(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "free_disk", lambda _: 1_000_000_000)
    check_disk(1_000_000_000, tmp_path / "not" / "there" / "yet")
    with pytest.raises(MediaError, match=r"about 3.2 GB .* where 1.0 GB are free: free 2.2 GB more"):
        check_disk(3_200_000_000, tmp_path / "not" / "there" / "yet")


def test_a_container_has_no_more_memory_than_its_limit(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(limits, "_MEMORY_LIMITS", (str(limit),))
    limit.write_text("max\n")
    assert limits.available_memory() > 1_000_000
    limit.write_text("1000000\n")
    assert limits.available_memory() == 1_000_000


def test_bytes_are_told_as_people_read_them():
    assert [bytes_as_text(n) for n in (1, 640_000, 999_000_000, 1_000_000_000, 12_340_000_000)] == [
        "1 kB",
        "640 kB",
        "999 MB",
        "1.0 GB",
        "12.3 GB",
    ]


def test_no_time_is_listed_before_the_number_is_known_to_be_sane(scene):
    for config in (
        ShotConfig(n_frames=10**12),
        ShotConfig(size=(100_000, 100_000)),
    ):
        with pytest.raises(ConfigError, match="expected at most"):
            plan_shot(scene, config)


def test_gbuffers_that_do_not_fit_are_refused_before_the_first(scene, monkeypatch, tmp_path):
    config, asked = ShotConfig(size=(64, 64), n_frames=100), []
    n_bytes = limits.GBUFFER_BYTES * 64 * 64 * 100
    monkeypatch.setattr(limits, "available_memory", lambda: n_bytes - 1)
    with pytest.raises(ConfigError, match="G-buffers of all frames need"):
        render_clip(scene, config, lambda *_: asked.append(1))
    monkeypatch.setattr(limits, "free_disk", lambda _: n_bytes - 1)
    with pytest.raises(MediaError, match="are free"):
        render_clip(scene, config, lambda *_: asked.append(1), tmp_path / "gbuffers.bin")
    assert not asked
    assert not list(tmp_path.iterdir())


def test_a_file_with_holes_takes_what_is_written_of_it(tmp_path):
    with (tmp_path / "hole.bin").open("wb") as file:
        file.truncate(10_000_000)
    (tmp_path / "full.bin").write_bytes(bytes([1]) * 100_000)
    names = ("hole.bin", "full.bin", "not-there.bin")
    assert 100_000 <= bytes_on_disk(tmp_path / name for name in names) < 1_000_000


def test_a_gbuffer_takes_what_the_estimate_says(tmp_path):
    StoredGBuffers(tmp_path / "g.bin", 3, 5, 7)
    assert (tmp_path / "g.bin").stat().st_size == 3 * (limits.GBUFFER_BYTES * 5 * 7 + CHECKSUM_BYTES)
    # One frame's record must be below 2 GiB, which is what a single read returns at most.
    assert limits.GBUFFER_BYTES * limits.MAX_PIXELS < 2**31

"""Laws of the page's own arithmetic, in the browser that runs it."""

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def blank(opened, served):
    """A page in which modules can be tried."""
    return opened(f"{served.address}/")


def test_a_camera_that_the_viewer_stands_in_is_the_same_again(blank, scene):
    """The viewer's own camera, told by the server and read again, is the one that was asked for."""
    read = """async ([scene, orbit]) => {
      const { orbitOf, HOME } = await import("/page/orbit.js");
      const { api } = await import("/page/api.js");
      const view = { settings: { size: "64" }, frame: 0, mode: "depth", width: 32, height: 32 };
      const seen = async (own) => (await api.view(scene, { ...view, orbit: own })).about.camera;
      const lens = { yfov_deg: orbit.yfov_deg, is_orthographic: orbit.is_orthographic };
      return orbitOf(await seen(orbit), await seen({ ...HOME, ...lens }));
    }"""
    for is_orthographic in (False, True):
        orbit = {
            "azimuth_deg": -70.0,
            "elevation_deg": 33.0,
            "distance": 1.7,
            "pan": [0.3, -0.2],
            "yfov_deg": 40.0,
            "is_orthographic": is_orthographic,
        }
        found = blank.evaluate(read, [scene, orbit])
        assert found["pan"] == pytest.approx(orbit["pan"], abs=1e-4)
        for name in ("azimuth_deg", "elevation_deg", "distance", "yfov_deg"):
            assert found[name] == pytest.approx(orbit[name], rel=1e-4), name


def test_objects_that_were_joined_and_left_out_come_back(blank):
    tried = """async () => {
      const rules = await import("/page/object_rules.js");
      const names = ["Body", "Wheel[1]", "Wheel2", "Glass"];
      let settings = {};
      const apply = (changes) => { settings = { ...settings, ...changes }; };
      apply(rules.withPrompt(settings, "Wheel[1]", "a wheel"));
      const said = rules.promptFor(settings, "Wheel[1]");
      apply(rules.merged(settings, "Wheel[1]", "Wheel2", names));
      apply(rules.merged(settings, "Wheel2", "Body", names));
      const joined = structuredClone(settings);
      const parts = rules.members(settings, "Body", names);
      apply(rules.leftOut(settings, "Body", names));
      const away = structuredClone(settings);
      for (const name of parts) apply(rules.broughtBack(settings, name));
      return { said, joined, parts, away, end: settings };
    }"""
    found = blank.evaluate(tried)
    assert found["said"] == "a wheel"
    assert sorted(found["joined"]["merge"]) == ["Wheel2=Body", "Wheel[[]1]=Body"]
    assert found["joined"]["prompt_for"] == []
    assert sorted(found["parts"]) == ["Body", "Wheel2", "Wheel[1]"]
    assert sorted(found["away"]["ignore"]) == ["Body", "Wheel2", "Wheel[[]1]"]
    assert found["away"]["merge"] == []
    assert found["end"] == {"merge": [], "ignore": [], "prompt_for": []}

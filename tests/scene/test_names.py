"""Names of one scene by several formats: exporters change separators, case and ways to write a letter."""

import pytest
from gltf_builder import SQUARE, GltfBuilder

from genrender.errors import SceneError
from genrender.scene.load import load_scene
from genrender.scene.names import partners
from genrender.scene.objects import ObjectRule, with_objects
from genrender.scene.scene import find_by_name

NAMES = {1: "Robot_Red", 2: "Wheel_001", 3: "Wheel_002", 4: "Wheels", 5: "a.b", 6: "a_b", 7: "_1st"}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("Robot.Red", [1]),
        ("robot red", [1]),
        ("Wheel.*", [2, 3]),  # not Wheels
        ("wheel?00[2-9]", [3]),
        ("Wheel.00[12]", [2, 3]),
        ("a.B", [5]),  # exactly that counts first
        ("1st", [7]),
    ],
)
def test_an_object_is_found_by_its_name_in_another_format(pattern, found):
    assert find_by_name(NAMES, "a.usdc", pattern) == found
    back = {1: "Robot.Red", 2: "E\u0301clair"}
    assert (find_by_name(back, "a.glb", "Robot_Red"), find_by_name(back, "a.glb", "éclair")) == ([1], [2])


@pytest.mark.parametrize("pattern", ["RobotRed", "...", "Robot.Blue"])
def test_other_names_are_none(pattern):
    with pytest.raises(SceneError, match="no object is called"):
        find_by_name(NAMES, "a.usdc", pattern)


def test_a_name_that_could_be_several_is_refused():
    with pytest.raises(SceneError, match=r"'a b' may be any of a\.b, a_b; write it as the file does"):
        find_by_name(NAMES, "a.usdc", "a b")


def test_objects_of_two_scenes_are_partners_by_name():
    assert partners(["Robot.Red", "Éclair", "new"], ["Robot_Red", "e\u0301clair", "old"]) == {
        "Robot.Red": "Robot_Red",
        "Éclair": "e\u0301clair",
    }
    # Equal names first; of several that are alike none.
    assert partners(["a.b"], ["a_b", "a.b"]) == {"a.b": "a.b"}
    assert partners(["a.b", "a b"], ["a_b"]) == {}
    assert partners(["a.b"], ["a_b", "a b"]) == {}
    # A backdrop's ground is no object that is called so.
    assert partners(["\0ground"], ["Ground"]) == {}


def test_objects_are_merged_left_out_and_cameras_found_so(tmp_path):
    builder = GltfBuilder()
    for name in ("Robot_Red", "Robot_Blue", "Big_Floor"):
        builder.node(mesh=builder.mesh(SQUARE, [0, 1, 2]), name=name)
    builder.doc["cameras"] = [{"type": "perspective", "perspective": {"yfov": 0.8, "znear": 0.1}}]
    builder.node(camera=0, name="Shot_Cam")
    scene = load_scene(builder.save(tmp_path / "robots.glb"))
    rule = ObjectRule(merge=(("Robot.*", "Robots"),), ignore=("Big.Floor",))
    assert [thing.name for thing in with_objects(scene, rule).objects] == ["Robots"]
    assert scene.find_camera("Shot.Cam").name == "Shot_Cam"

"""The objects of a clip by name, whether a scene or EXR files tell them."""

from functools import partial

import numpy as np

from genrender.config import RunConfig
from genrender.scene.scene import atlas_ids_by_name, find_by_name
from genrender.shots.clip import Clip, Shot
from genrender.shots.exr_shot import ExrShot


def clip_atlas_ids(clip: Clip) -> dict[str, list[int]]:
    """The texture ids of every object, by its name."""
    if isinstance(clip.shot, Shot):
        return atlas_ids_by_name(clip.shot.scene)
    return {name: [object_id] for object_id, name in _exr_objects(clip).items()}


def clip_objects(clip: Clip) -> dict[int, int]:
    """The object of every texture id."""
    if isinstance(clip.shot, Shot):
        scene = clip.shot.scene
        atlases, first_tris = np.unique(scene.atlas_id, return_index=True)
        return dict(zip(atlases.tolist(), scene.object_id[first_tris].tolist(), strict=True))
    return {object_id: object_id for object_id in _exr_objects(clip)}


def _exr_objects(clip: Clip) -> dict[int, str]:
    assert isinstance(clip.shot, ExrShot)
    ids = {one for gbuffer in clip.gbuffers for one in np.unique(gbuffer.object_id).tolist()} - {0}
    return clip.shot.sequence.object_names(sorted(ids))


def prompts_by_id(clip: Clip, config: RunConfig) -> dict[int, str]:
    """The texts of single objects by object id.

    Raises:
        SceneError: no object has a name.
    """
    if not config.object_prompts:
        return {}
    if isinstance(clip.shot, Shot):
        find = clip.shot.scene.find_objects
    else:
        seen, sequence = _exr_objects(clip), clip.shot.sequence
        # As in scenes, it is no mistake to name what no frame shows; such objects have no id, so 0 and below.
        unseen = sorted(sequence.manifest_names - set(seen.values()))
        names = {-number: name for number, name in enumerate(unseen)} | seen
        find = partial(find_by_name, names, sequence.path.name)
    return {i: text for name, text in config.object_prompts for i in find(name) if i > 0}

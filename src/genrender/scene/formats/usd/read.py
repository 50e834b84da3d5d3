"""USD scenes (.usd, .usda, .usdc, .usdz): the composed stage becomes a `Scene`. Needs usd-core."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

from pathlib import Path

import numpy as np
from jaxtyping import Float64
from pxr import Sdf, Tf, Usd, UsdGeom

from genrender.errors import SceneError
from genrender.scene.formats.assemble import ObjectMesh, assemble
from genrender.scene.formats.folders import Folders
from genrender.scene.formats.left_out import LeftOut, PartError
from genrender.scene.formats.usd.find import UsdPart, carrier_name, find_cameras, find_parts
from genrender.scene.formats.usd.mesh import read_object
from genrender.scene.formats.usd.motion import UsdMotion
from genrender.scene.formats.usd.open import EVERYTHING, open_stage, part_reason, usd_calls
from genrender.scene.moments import DEFAULT_FPS, tidy_rate
from genrender.scene.motion import MAX_COORDINATE, SceneCamera
from genrender.scene.names import UniqueNames
from genrender.scene.scene import Animation, Scene
from genrender.storage.quiet import silent_library

ANIMATION_NAME = "Timeline"
# Time codes per second that may be frames.
FRAME_RATES = (5, 240)


def load_usd(folders: Folders) -> Scene:
    """Reads a stage with all that its references, payloads and default variants bring in.

    A stage has one animation, from its start to its end time code. What cannot be shown is left out, and the
    scene's warnings tell it.

    Raises:
        SceneError: the stage cannot be opened, shows nothing, or refers to files outside the folders.
    """
    with silent_library(), usd_calls(folders.scene):
        return _load(folders)


def _load(folders: Folders) -> Scene:
    path, left_out = folders.scene, LeftOut()
    stage = _open(folders, left_out)
    start, end = _time_codes(path, stage)
    shown = _shown(find_parts(path, stage, (start, end), left_out), start, left_out)
    if not shown:
        found = "none" if left_out.first is None else f"only what cannot be shown: {left_out.first}"
        raise SceneError(f"{path.name}: expected visible meshes, found {found}")
    parts, objects = zip(*shown, strict=True)
    rate = stage.GetTimeCodesPerSecond()
    motion = UsdMotion(path, stage, parts, find_cameras(stage), start, end, rate, _world(path, stage))
    animations = ()
    if end > start:
        animations = (
            Animation(ANIMATION_NAME, (end - start) / rate, fps=_frame_rate(stage), file_s=start / rate),
        )
    cameras = _listed(motion, left_out)
    return assemble(path, objects, motion, animations, cameras, left_out.warnings())


def _frame_rate(stage: Usd.Stage) -> float:
    """Frames per second. Where it is not told apart, time codes are frames, unless they come too seldom
    (seconds) or too densely (ticks)."""
    codes = stage.GetTimeCodesPerSecond()
    frames = stage.GetFramesPerSecond()
    is_told = stage.HasAuthoredMetadata("framesPerSecond") and np.isfinite(frames) and frames > 0
    return tidy_rate(
        frames if is_told else codes if FRAME_RATES[0] <= codes <= FRAME_RATES[1] else DEFAULT_FPS
    )


def layers(folders: Folders) -> list[Path]:
    """The files that a stage is composed of."""
    with silent_library(), usd_calls(folders.scene):
        stage = _open(folders, LeftOut())
        used = [Path(layer.realPath) for layer in stage.GetUsedLayers() if layer.realPath]
    return sorted({folders.scene.resolve(), *(layer for layer in used if layer.is_file())})


def _shown(parts: list[UsdPart], code: float, left_out: LeftOut) -> list[tuple[UsdPart, ObjectMesh]]:
    """The parts that have sound faces, with these."""
    meshes: dict[Sdf.Path, int] = {}
    transforms = UsdGeom.XformCache(code)
    # Point instances show the same prim again and again.
    read: dict[Sdf.Path, ObjectMesh | None] = {}
    shown = []
    for part in parts:
        where = part.prim.GetPath()
        if where not in read:
            try:
                transforms.GetLocalToWorldTransform(part.prim)
                read[where] = read_object(part, code, meshes.setdefault(part.source, len(meshes)))
            except (PartError, Tf.ErrorException) as error:
                read[where] = None
                left_out.add(f"mesh {part.name!r}", part_reason(error))
        if (thing := read[where]) is not None:
            shown.append((part, thing))
    return shown


def _open(folders: Folders, left_out: LeftOut) -> Usd.Stage:
    stage = open_stage(folders, left_out)
    rate = stage.GetTimeCodesPerSecond()
    if not (np.isfinite(rate) and rate > 0):
        raise SceneError(
            f"{folders.scene.name}: has {rate:g} time codes per second, expected a number above 0"
        )
    return stage


def _time_codes(path: Path, stage: Usd.Stage) -> tuple[float, float]:
    """The first and the last time code; the same where nothing is animated."""
    moving = [
        attribute
        for prim in Usd.PrimRange.Stage(stage, EVERYTHING)
        for attribute in prim.GetAttributes()
        if attribute.ValueMightBeTimeVarying()
    ]
    start, end = stage.GetStartTimeCode(), stage.GetEndTimeCode()
    if not stage.HasAuthoredTimeCodeRange():
        codes = {code for attribute in moving for code in attribute.GetTimeSamples()} or {start}
        start, end = min(codes), max(codes)
    if not moving:
        end = start
    if not (np.isfinite(start) and np.isfinite(end) and start <= end):
        raise SceneError(f"{path.name}: has the time codes {start:g} to {end:g}, expected them to rise")
    return start, end


def _world(path: Path, stage: Usd.Stage) -> Float64[np.ndarray, "4 4"]:
    """From the stage's units and axes to metres with +Y up."""
    metres = UsdGeom.GetStageMetersPerUnit(stage)
    if not 1 / MAX_COORDINATE <= metres <= MAX_COORDINATE:
        raise SceneError(
            f"{path.name}: has {metres:g} metres per unit, expected {1 / MAX_COORDINATE:g} to "
            f"{MAX_COORDINATE:g}; export it again"
        )
    world = np.eye(4)
    if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z:
        world[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    world[:3, :3] *= metres
    return world


def _listed(motion: UsdMotion, left_out: LeftOut) -> tuple[SceneCamera, ...]:
    unique = UniqueNames()
    listed = []
    for node, prim in enumerate(motion.cameras):
        name = carrier_name(prim.GetPrim())
        entry = SceneCamera(name, node, 45.0, None)
        camera = motion.camera(entry, 0.0, None)
        if 0 < camera.yfov_deg < 180 and camera.ymag != 0:
            aspect = motion.aspect(node)
            lens = (camera.yfov_deg, camera.ymag, camera.near, camera.far, aspect)
            listed.append(SceneCamera(unique(name), node, *lens))
        else:
            left_out.add(
                f"camera {name!r}",
                f"sees {camera.yfov_deg:g} degrees; give it a focal length and an aperture above 0",
            )
    return tuple(listed)

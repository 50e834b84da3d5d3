"""USD scenes (.usd, .usda, .usdc, .usdz): the composed stage becomes a `Scene`. Needs usd-core."""

# pyright: reportAttributeAccessIssue=false
# (usd-core fills its modules while they are imported: a type checker sees them empty)

from pathlib import Path

import numpy as np
from jaxtyping import Float64
from pxr import Sdf, Tf, Usd, UsdGeom

from genrender.errors import SceneError
from genrender.scene.assemble import assemble
from genrender.scene.moments import DEFAULT_FPS, tidy_rate
from genrender.scene.motion import SceneCamera
from genrender.scene.names import UniqueNames
from genrender.scene.scene import Animation, Scene
from genrender.scene.usd_find import check_prims, find_cameras, find_parts
from genrender.scene.usd_mesh import read_object
from genrender.scene.usd_motion import UsdMotion

ANIMATION_NAME = "Timeline"
# Time codes per second that may be frames.
FRAME_RATES = (5, 240)


def load_usd(path: Path) -> Scene:
    """Reads a stage with all that its references, payloads and default variants bring in.

    A stage has one animation, from its start to its end time code.

    Raises:
        SceneError: the stage cannot be opened or composed, holds no meshes, or changes their topology.
    """
    try:
        return _load(path)
    except (Tf.ErrorException, UnicodeDecodeError) as error:
        # The second is how the library's bindings fail over a message of the first kind.
        raise SceneError(
            f"{path.name}: cannot be read as USD ({_one_line(error)}); export it again"
        ) from None


def _load(path: Path) -> Scene:
    stage = _open(path)
    check_prims(path, stage)
    start, end = _time_codes(path, stage)
    parts = find_parts(path, stage, start)
    cameras = find_cameras(stage)
    rate = stage.GetTimeCodesPerSecond()
    motion = UsdMotion(path, stage, tuple(parts), tuple(cameras), start, end, rate, _world(path, stage))
    meshes: dict[Sdf.Path, int] = {}
    objects = [read_object(path, part, start, meshes.setdefault(part.source, len(meshes))) for part in parts]
    animations = ()
    if end > start:
        animations = (
            Animation(ANIMATION_NAME, (end - start) / rate, fps=_frame_rate(stage), file_s=start / rate),
        )
    return assemble(path, objects, motion, animations, _listed(path, motion))


def _frame_rate(stage: Usd.Stage) -> float:
    """Frames per second. Where it is not told apart, time codes are frames, unless they come too seldom
    (seconds) or too densely (ticks)."""
    codes = stage.GetTimeCodesPerSecond()
    frames = stage.GetFramesPerSecond()
    is_told = stage.HasAuthoredMetadata("framesPerSecond") and np.isfinite(frames) and frames > 0
    return tidy_rate(
        frames if is_told else codes if FRAME_RATES[0] <= codes <= FRAME_RATES[1] else DEFAULT_FPS
    )


def layers(path: Path) -> list[Path]:
    """The files that a stage is composed of."""
    used = (Path(layer.realPath) for layer in _open(path).GetUsedLayers() if layer.realPath)
    return sorted({path.resolve(), *(layer for layer in used if layer.is_file())})


def _open(path: Path) -> Usd.Stage:
    try:
        stage = Usd.Stage.Open(str(path))
    except (Tf.ErrorException, UnicodeDecodeError) as error:
        why = _one_line(error)
        raise SceneError(f"{path.name}: cannot be read as USD ({why}); export it again") from None
    stage.Reload()  # layers that another scene of this process still holds may have changed on disk
    errors = stage.GetCompositionErrors()
    if errors:
        raise SceneError(
            f"{path.name}: cannot be composed ({_one_line(errors[0])}); put the missing file in its place"
        )
    rate = stage.GetTimeCodesPerSecond()
    if not (np.isfinite(rate) and rate > 0):
        raise SceneError(f"{path.name}: has {rate:g} time codes per second, expected a number above 0")
    return stage


def _one_line(error: object) -> str:
    words = " ".join(str(error).split())
    return words if len(words) <= 200 else words[:197] + "..."


def _time_codes(path: Path, stage: Usd.Stage) -> tuple[float, float]:
    """The first and the last time code; the same where nothing is animated."""
    moving = [
        attribute
        for prim in Usd.PrimRange.Stage(stage, Usd.TraverseInstanceProxies())
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
    if not (np.isfinite(metres) and metres > 0):
        raise SceneError(f"{path.name}: has {metres:g} metres per unit, expected a number above 0")
    world = np.eye(4)
    if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z:
        world[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    world[:3, :3] *= metres
    return world


def _listed(path: Path, motion: UsdMotion) -> tuple[SceneCamera, ...]:
    unique = UniqueNames()
    listed = []
    for node, prim in enumerate(motion.cameras):
        entry = SceneCamera(unique(prim.GetPrim().GetName()), node, 45.0, None)
        camera = motion.camera(entry, 0.0, None)
        if not 0 < camera.yfov_deg < 180 or camera.ymag == 0:
            raise SceneError(
                f"{path.name}: camera {entry.name!r} sees {camera.yfov_deg:g} degrees; "
                "give it a focal length and an aperture above 0"
            )
        listed.append(SceneCamera(entry.name, node, camera.yfov_deg, camera.ymag))
    return tuple(listed)

"""The options of every command: plain data, so that `genrender --help` imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from genrender.config import Engine, NoiseMode, PresetName, UnifyRule
from genrender.evaluation.studies import StudyName
from genrender.methods.table import MethodName
from genrender.scene.choices import ObjectsBy, UvMode

Dtype = Literal["float32", "float16", "bfloat16"]


def option(metavar: str, default: str) -> Any:
    """How an option appears in the help where its type and its default value do not say enough."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True)
class Render:
    """Turn an animated scene and a sentence into a video.

    Attributes:
        scene: a glTF, USD, Alembic, OBJ or PLY file, a sequence such as frames/wave_*.obj, or EXR files: a
            folder or a pattern such as shot_%04d.exr.
        prompt: what the video shows.
        negative_prompt: what it does not show.
        prompt_for: what one object shows, for instance Fox="a bronze fox"; may be given several times. Names
            may be patterns such as wheel*; ground and dome are the backdrop's.
        out: where the video goes as well; the run folder always holds it.
        animation: name or number of one animation; `all` plays all that move different things.
        frames: number of frames.
        start: what the first frame shows: a frame number of the file, or seconds such as 0.5s.
        end: what the last frame shows, likewise; instead of --frames.
        loop: begin an animation again after its end, instead of holding its last pose.
        fps: frames per second.
        size: picture size in pixels, WIDTHxHEIGHT, or a side: the longer one where a camera of the file has a
            shape.
        camera: orbit, turntable, static, dolly or handheld:SEED, perhaps with a lens (orbit,35mm;
            orbit,60deg; orbit,ortho); scene:NAME (a camera of the file) or FILE.json.
        exr_map: channels and conventions of EXR files whose names do not tell, see docs/exr.md.
        model: pocket, sd15, a hub id or a folder in diffusers' layout.
        steps: diffusion steps.
        guidance: weight of classifier-free guidance; 1 or less does without.
        seed: of everything that is drawn by chance.
        preset: settings to start from; other options override them.
        keyframes: number of keyframes of each step.
        noise: where the initial noise comes from.
        engine: how surface points are found again in other frames.
        alpha: weight of the blended surface features, 0..1.
        unify: how keyframes that show the same surface point are combined.
        set: any setting of the method, for instance injection.alpha_end=0.4; may be given several times. A
            wrong name lists them all.
        stabilise: strength of a filter that takes flicker out of finished frames along surface points, 0..1.
        repeat: how often the video shows the clip; the frames are written once.
        uv: texture coordinates of the file (keep), new ones where those will not do (auto), or all new.
        objects: what one object is: a mesh as one node shows it, all of one material, or all of one mesh.
        merge: objects that become one, for instance "wheel*=Wheels"; may be given several times.
        ignore: objects that are left out, for instance "Helper*"; may be given several times.
        backdrop: none, ground, dome, both, or a colour such as white or #204060.
        appearance_from: folder of a run whose look this one takes over, object by object of equal name; both
            must be alike in model, sampler, steps and size.
        run_dir: run folder: settings, frames, video and contact sheet. An earlier run in it gives way.
        method: per-frame switches off everything that makes the frames agree; the others but generative are
            parts of it and rivals, for comparison.
        vae: autoencoder to use instead of the model's own, such as madebyollin/taesd, which decodes faster.
        device: where to compute, for instance cpu or cuda:1.
        dtype: numbers that the networks compute in.
        chunk: frames that go through the networks at once, fewer where the memory does not suffice; changes
            memory and speed only.
        allow_folder: where files of the scene may lie beside its own folder; may be given several times.
        debug: show where an error comes from.
    """

    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    prompt: Annotated[str, tyro.conf.arg(metavar="TEXT")]
    negative_prompt: Annotated[str | None, option("TEXT", "none")] = None
    prompt_for: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("OBJECT=TEXT", "none")] = ()
    out: Annotated[Path | None, option("VIDEO.mp4", "only in the run folder")] = None
    animation: Annotated[str | None, option("NAME", "all that move different things")] = None
    frames: Annotated[int | None, option("N", "from start to end; 24 if nothing moves")] = None
    start: Annotated[str | None, option("FRAME|SECONDSs", "the animation's first key")] = None
    end: Annotated[str | None, option("FRAME|SECONDSs", "the animation's last key")] = None
    loop: bool = False
    fps: Annotated[float | None, option("R", "the file's own; 24 if it tells none")] = None
    size: Annotated[str | None, option("N|WxH", "the model's own; that of EXR files")] = None
    camera: Annotated[str | None, option("CAMERA", "a static view that holds the whole clip")] = None
    exr_map: Annotated[Path | None, option("FILE.json", "found out from the channels' names")] = None
    model: Annotated[str, tyro.conf.arg(metavar="MODEL")] = "pocket"
    steps: Annotated[int | None, option("N", "the preset's")] = None
    guidance: Annotated[float | None, option("G", "the preset's, else the model's")] = None
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    preset: PresetName = "balanced"
    keyframes: Annotated[int | None, option("K", "an eighth of the frames, at least 3 and at most 8")] = None
    noise: Annotated[NoiseMode | None, option("partition|nearest|fixed|independent", "the preset's")] = None
    engine: Annotated[Engine | None, option("texture|reproject", "the preset's")] = None
    alpha: Annotated[float | None, option("A", "the preset's")] = None
    unify: Annotated[UnifyRule | None, option("|".join(get_args(UnifyRule)), "the preset's")] = None
    set: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("STAGE.NAME=VALUE", "none")] = ()
    stabilise: Annotated[float, tyro.conf.arg(metavar="S")] = 0.0
    repeat: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    uv: UvMode = "auto"
    objects: ObjectsBy = "node"
    merge: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("PATTERN=NAME", "none")] = ()
    ignore: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("PATTERN", "none")] = ()
    backdrop: Annotated[str, tyro.conf.arg(metavar="none|ground|dome|both|COLOR")] = "none"
    appearance_from: Annotated[Path | None, option("RUN_DIR", "none")] = None
    run_dir: Annotated[Path | None, option("DIR", "runs/SCENE-TIME")] = None
    method: MethodName = "generative"
    vae: Annotated[str | None, option("MODEL", "the model's own")] = None
    device: Annotated[str | None, option("DEVICE", "cuda where there is one, else mps, else cpu")] = None
    dtype: Annotated[
        Dtype | None,
        option(
            "float32|float16|bfloat16",
            "float16 on cuda, float32 there for pocket; bfloat16 on a CPU that computes in it; else float32",
        ),
    ] = None
    chunk: Annotated[int, tyro.conf.arg(metavar="N")] = 8
    allow_folder: Annotated[tyro.conf.UseAppendAction[tuple[Path, ...]], option("DIR", "none")] = ()
    debug: bool = False


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped, from the last step that it finished.

    Settings are those of the command that began it, and the frames become the same as without a stop.

    Attributes:
        run_dir: folder of a run that was stopped.
        debug: show where an error comes from.
    """

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN_DIR")]
    debug: bool = False


@dataclass(frozen=True)
class Compare(Render):
    """Make one shot by several methods, and measure them all.

    The other options are those of render. What an interrupted comparison has finished is kept.

    Attributes:
        scene: a glTF, USD, Alembic, OBJ or PLY file, a sequence such as frames/wave_*.obj, or EXR files: a
            folder or a pattern such as shot_%04d.exr.
        prompt: what the videos show.
        methods: names, separated by commas.
        clip: CLIP model to judge by, a folder or a hub id.
        depth_model: network that estimates depth, to judge whether the frames show the depth they were given.
        json: print JSON and nothing else.
        report: page with videos side by side, figures, plots and error maps; needs nothing else to be shown.
        run_dir: folder that holds one run folder for every method.
    """

    methods: Annotated[str, tyro.conf.arg(metavar="A,B,C")] = (
        "generative,per-frame,fixed-noise,cross-frame,pix2video,tokenflow,static-texture"
    )
    clip: Annotated[str | None, option("MODEL", "pocket's")] = None
    depth_model: Annotated[str | None, option("MODEL", "none")] = None
    json: bool = False
    report: Annotated[Path | None, option("FILE.html", "none")] = None
    run_dir: Annotated[Path | None, option("DIR", "runs/compare-SCENE")] = None
    # Each method's run has a place and a method of its own.
    out: tyro.conf.Suppress[Path | None] = None
    repeat: tyro.conf.Suppress[int] = 1
    method: tyro.conf.Suppress[MethodName] = "generative"


@dataclass(frozen=True)
class Study:
    """Try one setting at many values, and write down what it does to steadiness, sharpness and cost.

    Writes NAME.csv, plots NAME.svg and a table NAME.md. What an interrupted study has finished is kept.

    Attributes:
        name: texture-resolution, keyframes, length, alpha or steps.
        shots: scenes with what their videos show, such as fox.glb="a red fox".
        seeds: every variant runs with each of these, separated by commas.
        frames: frames of every clip (the study length has its own).
        start: what the first frame shows: a frame number of the file, or seconds such as 0.5s.
        camera: orbit, turntable, static, dolly or handheld:SEED, perhaps with a lens (orbit,35mm;
            orbit,60deg; orbit,ortho); scene:NAME (a camera of the file) or FILE.json.
        size: picture size in pixels, WIDTHxHEIGHT, or a side: the longer one where a camera of the file has a
            shape.
        model: pocket, sd15, a hub id or a folder in diffusers' layout.
        steps: diffusion steps (the study steps has its own).
        clip: CLIP model to judge by, a folder or a hub id.
        device: where to compute, for instance cpu or cuda:1.
        out: folder for the three files; made where it is missing.
        run_dir: folder that holds the runs.
        allow_folder: where files of the scene may lie beside its own folder; may be given several times.
        debug: show where an error comes from.
    """

    name: Annotated[tyro.conf.Positional[StudyName], tyro.conf.arg(metavar="NAME")]
    shots: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SCENE=TEXT")]
    seeds: Annotated[str, tyro.conf.arg(metavar="S,S,...")] = "0,1"
    frames: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    start: Annotated[str | None, option("FRAME|SECONDSs", "the animation's first key")] = None
    camera: Annotated[str | None, option("CAMERA", "a static view that holds the whole clip")] = None
    size: Annotated[str | None, option("N|WxH", "the model's own")] = None
    model: Annotated[str, tyro.conf.arg(metavar="MODEL")] = "pocket"
    steps: Annotated[int | None, option("N", "the preset's")] = None
    clip: Annotated[str | None, option("MODEL", "pocket's")] = None
    device: Annotated[str | None, option("DEVICE", "cuda where there is one, else cpu")] = None
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("studies")
    run_dir: Annotated[Path | None, option("DIR", "runs/study-NAME")] = None
    allow_folder: Annotated[tyro.conf.UseAppendAction[tuple[Path, ...]], option("DIR", "none")] = ()
    debug: bool = False


@dataclass(frozen=True)
class Gbuffers:
    """Write what the camera sees as EXR files: depth, texture coordinates and object indices.

    Channels: Depth.Z, UV.U, UV.V and IndexOB.X, as in Blender. Each file has a preview picture beside it.

    Attributes:
        scene: a glTF, USD, Alembic, OBJ or PLY file, a sequence such as frames/wave_*.obj, or EXR files: a
            folder or a pattern such as shot_%04d.exr.
        out: folder for frame_0000.exr, frame_0000.png and so on; made where it is missing. Frames of an
            earlier clip in it give way, other files stay.
        camera: orbit, turntable, static, dolly or handheld:SEED, perhaps with a lens (orbit,35mm;
            orbit,60deg; orbit,ortho); scene:NAME (a camera of the file) or FILE.json.
        animation: name or number of one animation; `all` plays all that move different things.
        times: the frames' times in seconds, separated by commas, instead of --frames and --fps.
        frames: number of frames.
        start: what the first frame shows: a frame number of the file, or seconds such as 0.5s.
        end: what the last frame shows, likewise; instead of --frames.
        loop: begin an animation again after its end, instead of holding its last pose.
        fps: frames per second.
        size: picture size in pixels, WIDTHxHEIGHT, or a side: the longer one where a camera of the file has a
            shape.
        exr_map: channels and conventions of EXR files whose names do not tell, see docs/exr.md.
        uv: texture coordinates of the file (keep), new ones where those will not do (auto), or all new.
        objects: what one object is: a mesh as one node shows it, all of one material, or all of one mesh.
        merge: objects that become one, for instance "wheel*=Wheels"; may be given several times.
        ignore: objects that are left out, for instance "Helper*"; may be given several times.
        backdrop: geometry behind the scene, with object index 16382 (ground) and 16383 (dome).
        allow_folder: where files of the scene may lie beside its own folder; may be given several times.
        debug: show where an error comes from.
    """

    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    backdrop: Literal["none", "ground", "dome", "both"] = "none"
    camera: Annotated[str | None, option("CAMERA", "a static view that holds the whole clip")] = None
    animation: Annotated[str | None, option("NAME", "all that move different things")] = None
    times: Annotated[str | None, option("T0,T1,...", "every 1 / fps")] = None
    frames: Annotated[int | None, option("N", "from start to end; 24 if nothing moves")] = None
    start: Annotated[str | None, option("FRAME|SECONDSs", "the animation's first key")] = None
    end: Annotated[str | None, option("FRAME|SECONDSs", "the animation's last key")] = None
    loop: bool = False
    fps: Annotated[float | None, option("R", "the file's own; 24 if it tells none")] = None
    size: Annotated[str | None, option("N|WxH", "512; that of EXR files")] = None
    exr_map: Annotated[Path | None, option("FILE.json", "found out from the channels' names")] = None
    uv: UvMode = "auto"
    objects: ObjectsBy = "node"
    merge: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("PATTERN=NAME", "none")] = ()
    ignore: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("PATTERN", "none")] = ()
    allow_folder: Annotated[tyro.conf.UseAppendAction[tuple[Path, ...]], option("DIR", "none")] = ()
    debug: bool = False


@dataclass(frozen=True)
class Preview:
    """Show a clip without any model: depth, texture coordinates and objects.

    Writes preview.mp4, with the three side by side, and contact_sheet.png.

    Attributes:
        scene: a glTF, USD, Alembic, OBJ or PLY file, a sequence such as frames/wave_*.obj, or EXR files: a
            folder or a pattern such as shot_%04d.exr.
        out: folder for both; made where it is missing.
        camera: orbit, turntable, static, dolly or handheld:SEED, perhaps with a lens (orbit,35mm;
            orbit,60deg; orbit,ortho); scene:NAME (a camera of the file) or FILE.json.
        animation: name or number of one animation; `all` plays all that move different things.
        frames: number of frames.
        start: what the first frame shows: a frame number of the file, or seconds such as 0.5s.
        end: what the last frame shows, likewise; instead of --frames.
        loop: begin an animation again after its end, instead of holding its last pose.
        fps: frames per second.
        size: picture size in pixels, WIDTHxHEIGHT, or a side: the longer one where a camera of the file has a
            shape.
        exr_map: channels and conventions of EXR files whose names do not tell, see docs/exr.md.
        uv: texture coordinates of the file (keep), new ones where those will not do (auto), or all new.
        objects: what one object is: a mesh as one node shows it, all of one material, or all of one mesh.
        merge: objects that become one, for instance "wheel*=Wheels"; may be given several times.
        ignore: objects that are left out, for instance "Helper*"; may be given several times.
        backdrop: geometry behind the scene.
        allow_folder: where files of the scene may lie beside its own folder; may be given several times.
        debug: show where an error comes from.
    """

    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    out: Annotated[Path | None, option("DIR", "runs/preview-SCENE")] = None
    camera: Annotated[str | None, option("CAMERA", "a static view that holds the whole clip")] = None
    animation: Annotated[str | None, option("NAME", "all that move different things")] = None
    frames: Annotated[int | None, option("N", "from start to end; 24 if nothing moves")] = None
    start: Annotated[str | None, option("FRAME|SECONDSs", "the animation's first key")] = None
    end: Annotated[str | None, option("FRAME|SECONDSs", "the animation's last key")] = None
    loop: bool = False
    fps: Annotated[float | None, option("R", "the file's own; 24 if it tells none")] = None
    size: Annotated[str | None, option("N|WxH", "256; that of EXR files")] = None
    exr_map: Annotated[Path | None, option("FILE.json", "found out from the channels' names")] = None
    uv: UvMode = "auto"
    objects: ObjectsBy = "node"
    merge: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("PATTERN=NAME", "none")] = ()
    ignore: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("PATTERN", "none")] = ()
    backdrop: Literal["none", "ground", "dome", "both"] = "none"
    allow_folder: Annotated[tyro.conf.UseAppendAction[tuple[Path, ...]], option("DIR", "none")] = ()
    debug: bool = False


@dataclass(frozen=True)
class Unwrap:
    """Write a glTF scene with texture coordinates that will do; all else stays as it is.

    Vertices are split along seams. Materials whose pictures used the old coordinates go on using them, as a
    set of their own.

    Attributes:
        scene: a .gltf or .glb file.
        out: the new file.
        uv: new coordinates where the file's own will not do (auto), or for all objects (unwrap).
        allow_folder: where files of the scene may lie beside its own folder; may be given several times.
        debug: show where an error comes from.
    """

    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    out: Annotated[Path, tyro.conf.arg(metavar="NEW.glb")]
    uv: Literal["auto", "unwrap"] = "auto"
    allow_folder: Annotated[tyro.conf.UseAppendAction[tuple[Path, ...]], option("DIR", "none")] = ()
    debug: bool = False


@dataclass(frozen=True)
class Inspect:
    """Show what a scene holds: objects, triangles, animations, cameras and the state of the UVs.

    Of EXR files, show which channels were taken for what, sizes, frames and gaps. With --model, show a model
    instead: its networks, its picture size and the words that it knows.

    Attributes:
        scene: a glTF, USD, Alembic, OBJ or PLY file, a sequence such as frames/wave_*.obj, or EXR files: a
            folder or a pattern such as shot_%04d.exr.
        picture: draw the charts of every object: overlap is red, a mirrored chart is hatched.
        objects: what one object is: a mesh as one node shows it, all of one material, or all of one mesh.
        merge: objects that become one, for instance "wheel*=Wheels"; may be given several times.
        ignore: objects that are left out, for instance "Helper*"; may be given several times.
        exr_map: channels and conventions of EXR files whose names do not tell, see docs/exr.md.
        model: pocket, or a folder in diffusers' layout.
        json: print JSON and nothing else.
        allow_folder: where files of the scene may lie beside its own folder; may be given several times.
        debug: show where an error comes from.
    """

    scene: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="SCENE")] = None
    exr_map: Annotated[Path | None, option("FILE.json", "found out from the channels' names")] = None
    model: Annotated[str | None, option("MODEL", "none")] = None
    picture: Annotated[Path | None, option("FILE.png", "none")] = None
    objects: ObjectsBy = "node"
    merge: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("PATTERN=NAME", "none")] = ()
    ignore: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("PATTERN", "none")] = ()
    json: bool = False
    allow_folder: Annotated[tyro.conf.UseAppendAction[tuple[Path, ...]], option("DIR", "none")] = ()
    debug: bool = False


@dataclass(frozen=True)
class Verify:
    """Check without any model whether noise and features stick to the surfaces of a scene.

    Figures with what is expected of them, and two pictures: noise.png and features.png.

    Attributes:
        scene: a glTF, USD, Alembic, OBJ or PLY file, or a sequence such as frames/wave_*.obj.
        json: print JSON and nothing else.
        out: folder for the pictures; made where it is missing.
        camera: orbit, turntable, static, dolly or handheld:SEED, perhaps with a lens (orbit,35mm;
            orbit,60deg; orbit,ortho); scene:NAME (a camera of the file) or FILE.json.
        animation: name or number of one animation; `all` plays all that move different things.
        frames: number of frames, at least 2.
        start: what the first frame shows: a frame number of the file, or seconds such as 0.5s.
        end: what the last frame shows, likewise; instead of --frames.
        fps: frames per second.
        size: picture size in pixels, multiples of 8: WIDTHxHEIGHT, or a side: the longer one where a camera
            of the file has a shape.
        seed: of everything that is drawn by chance.
        allow_folder: where files of the scene may lie beside its own folder; may be given several times.
        debug: show where an error comes from.
    """

    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    json: bool = False
    out: Annotated[Path | None, option("DIR", "runs/verify-SCENE")] = None
    camera: Annotated[str | None, option("CAMERA", "a static view that holds the whole clip")] = None
    animation: Annotated[str | None, option("NAME", "all that move different things")] = None
    frames: Annotated[int | None, option("N", "from start to end; 24 if nothing moves")] = None
    start: Annotated[str | None, option("FRAME|SECONDSs", "the animation's first key")] = None
    end: Annotated[str | None, option("FRAME|SECONDSs", "the animation's last key")] = None
    fps: Annotated[float | None, option("R", "the file's own; 24 if it tells none")] = None
    size: Annotated[str, tyro.conf.arg(metavar="N|WxH")] = "512"
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    allow_folder: Annotated[tyro.conf.UseAppendAction[tuple[Path, ...]], option("DIR", "none")] = ()
    debug: bool = False


@dataclass(frozen=True)
class Evaluate:
    """Measure a finished run: steadiness on surfaces, sharpness, and what a CLIP model says.

    Prints a table, and keeps the figures as metrics.json in the run folder.

    Attributes:
        run_dir: a run folder, as `genrender render` prints it.
        reference: run folder of the same shot, such as one with --method per-frame, to relate sharpness to.
        clip: CLIP model to judge by, a folder or a hub id.
        depth_model: network that estimates depth, a folder or a hub id such as Intel/dpt-large, to judge
            whether the frames show the depth they were asked to show.
        json: print JSON and nothing else.
        debug: show where an error comes from.
    """

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN_DIR")]
    reference: Annotated[Path | None, option("RUN_DIR", "none")] = None
    clip: Annotated[str | None, option("MODEL", "pocket's")] = None
    depth_model: Annotated[str | None, option("MODEL", "none")] = None
    json: bool = False
    debug: bool = False


@dataclass(frozen=True)
class Diagnose:
    """Tell the known ways in which a video goes wrong from measurements, and which knob to turn.

    Attributes:
        run_dir: a run folder, as `genrender render` prints it.
        reference: run folder of the same shot with --method per-frame, to tell blur.
        json: print JSON and nothing else.
        debug: show where an error comes from.
    """

    run_dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN_DIR")]
    reference: Annotated[Path | None, option("RUN_DIR", "none")] = None
    json: bool = False
    debug: bool = False

"""The options of every command: plain data, so that `genrender --help` imports nothing heavy.

What several commands share is a group or a type of `genrender.options.groups`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from genrender.evaluation.studies import StudyName
from genrender.options.groups import (
    ABOUT_SIZE,
    Adapters,
    AllowedFolders,
    Also,
    BackdropGeometry,
    Camera,
    ClipModel,
    Consistency,
    Content,
    Debug,
    Device,
    Devices,
    ExrMapFile,
    Extras,
    Json,
    Judging,
    Looks,
    Model,
    ModelName,
    Moments,
    Networks,
    Objects,
    Parts,
    ProgressAs,
    Rival,
    RunFolderPath,
    Sampling,
    SceneFile,
    Seed,
    Start,
    TargetName,
    Token,
    Upscale,
    VerifiedView,
    View,
    option,
    several,
)


@dataclass(frozen=True)
class Made:
    """What every command that makes runs has.

    Attributes:
        prompt: what the video shows.
        negative_prompt: what it does not show.
        backdrop: none, ground, dome, both, or a colour such as white or #204060.
    """

    scene: SceneFile
    prompt: Annotated[str, tyro.conf.arg(metavar="TEXT")]
    negative_prompt: Annotated[str | None, option("TEXT", "none")] = None
    size: Annotated[str | None, option("N|WxH", "the model's own; that of EXR files", ABOUT_SIZE)] = None
    backdrop: Annotated[str, tyro.conf.arg(metavar="none|ground|dome|both|COLOR")] = "none"
    view: View = field(default_factory=View)
    model: Model = field(default_factory=Model)
    moments: Moments = field(default_factory=Moments)
    content: Content = field(default_factory=Content)
    objects: Objects = field(default_factory=Objects)
    looks: Looks = field(default_factory=Looks)
    adapters: Adapters = field(default_factory=Adapters)
    sampling: Sampling = field(default_factory=Sampling)
    networks: Networks = field(default_factory=Networks)
    consistency: Consistency = field(default_factory=Consistency)
    debug: Debug = False


@dataclass(frozen=True)
class Render(Made):
    """Turn an animated scene and a sentence into a video.

    Attributes:
        out: where the video goes as well; the run folder always holds it.
        run_dir: run folder: settings, frames, video and contact sheet. An earlier run in it is replaced.
        repeat: how often the video shows the clip; the frames are written once.
    """

    out: Annotated[Path | None, option("VIDEO.mp4", "only in the run folder")] = None
    run_dir: Annotated[Path | None, option("DIR", "runs/SCENE-TIME")] = None
    repeat: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    extras: Extras = field(default_factory=Extras)
    parts: Parts = field(default_factory=Parts)
    rival: Rival = field(default_factory=Rival)


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped, from the last step that it finished.

    Settings are those of the command that began it, and the frames become the same as without a stop.
    """

    run_dir: RunFolderPath
    progress: ProgressAs = "bars"
    debug: Debug = False


@dataclass(frozen=True)
class Join:
    """Write the frames of several runs, parts of one clip, as one video.

    Attributes:
        run_dirs: run folders of `genrender render --only FIRST-LAST`, in any order; or the folder that holds
            them.
        out: the video.
    """

    run_dirs: Annotated[tyro.conf.Positional[tuple[Path, ...]], several("RUN_DIR...")]
    out: Annotated[Path, tyro.conf.arg(metavar="VIDEO.mp4")]
    debug: Debug = False


@dataclass(frozen=True)
class Finish:
    """Add to a finished run what compositors take, into its folder.

    Alpha and mattes are of the scene's own objects, sixteen samples a pixel. The scene has to be
    where it was.
    """

    run_dir: RunFolderPath
    also: Also = None
    upscale: Upscale = None
    device: Device = None
    debug: Debug = False


@dataclass(frozen=True)
class Compare(Made):
    """Make one shot by several methods, and measure them all. What is finished is kept for the next time.

    Attributes:
        methods: names, separated by commas.
        report: a page with videos side by side, figures, plots and error maps.
        run_dir: folder that holds one run folder for every method.
    """

    methods: Annotated[str, tyro.conf.arg(metavar="A,B,C")] = (
        "generative,per-frame,fixed-noise,cross-frame,pix2video,tokenflow,tex4d,syncmvd,static-texture"
    )
    judging: Judging = field(default_factory=Judging)
    json: Json = False
    report: Annotated[Path | None, option("FILE.html", "none")] = None
    run_dir: Annotated[Path | None, option("DIR", "runs/compare-SCENE")] = None


@dataclass(frozen=True)
class Study:
    """Try one setting at many values, and write down what it does to steadiness, sharpness and cost.

    Writes NAME.csv, plots NAME.svg and a table NAME.md. What an interrupted study has finished is kept.

    Attributes:
        name: texture-resolution, keyframes, length, alpha or steps.
        shots: scenes with what their videos show, such as fox.glb="a red fox".
        seeds: every variant runs with each of these, separated by commas.
        frames: frames of every clip (the study length has its own).
        out: folder for the three files; made where it is missing.
        run_dir: folder that holds the runs.
    """

    name: Annotated[tyro.conf.Positional[StudyName], tyro.conf.arg(metavar="NAME")]
    shots: Annotated[tyro.conf.Positional[tuple[str, ...]], several("SCENE=TEXT...")]
    seeds: Annotated[str, tyro.conf.arg(metavar="S,S,...")] = "0,1"
    frames: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    start: Start = None
    camera: Camera = None
    size: Annotated[str | None, option("N|WxH", "the model's own", ABOUT_SIZE)] = None
    model: ModelName = "pocket"
    steps: Annotated[
        int | None, option("N", "the preset's", "diffusion steps (the study steps has its own)")
    ] = None
    clip: ClipModel = None
    device: Device = None
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("studies")
    run_dir: Annotated[Path | None, option("DIR", "runs/study-NAME")] = None
    allow_folder: AllowedFolders = ()
    debug: Debug = False


@dataclass(frozen=True)
class Batch:
    """Make many renders, comparisons and studies, of a file with one JSON object a line; see docs/batches.md.

    A line has the options of its command by name: {"scene": "fox.glb", "prompt": "a red fox", "seed": 3}. All
    lines are checked before the first begins. The same command again goes on where it was stopped.

    Attributes:
        jobs: the file.
        run_dir: folder for runs, logs and the summary.
        device: one worker for each; may be given several times.
        retries: how often a job is begun again whose process has died.
        check: only check the lines.
        server: have the server at this address make them, in its queue, where its page shows them.
        name: what the batch is called there.
    """

    jobs: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="JOBS.jsonl")]
    run_dir: Annotated[Path | None, option("DIR", "runs/batch-JOBS")] = None
    device: Devices = ()
    retries: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    check: bool = False
    server: Annotated[str | None, option("URL", "none")] = None
    name: Annotated[str | None, option("NAME", "that of the file")] = None
    token: Token = None
    debug: Debug = False


@dataclass(frozen=True)
class Gbuffers:
    """Write what the camera sees as EXR files: depth, texture coordinates and object indices.

    Channels: Depth.Z, UV.U, UV.V and IndexOB.X, as in Blender. Each file has a preview picture beside it.

    Attributes:
        out: folder for frame_0000.exr, frame_0000.png and so on; made where it is missing. Frames of an
            earlier clip in it are replaced, other files stay.
        times: the frames' times in seconds, separated by commas, instead of --frames and --fps.
    """

    scene: SceneFile
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    size: Annotated[str | None, option("N|WxH", "512; that of EXR files", ABOUT_SIZE)] = None
    times: Annotated[str | None, option("T0,T1,...", "every 1 / fps")] = None
    backdrop: BackdropGeometry = "none"
    view: View = field(default_factory=View)
    moments: Moments = field(default_factory=Moments)
    content: Content = field(default_factory=Content)
    objects: Objects = field(default_factory=Objects)
    debug: Debug = False


@dataclass(frozen=True)
class Passes:
    """Write what the camera sees as other programs and models take it, see docs/passes.md.

    comfyui: videos for any ControlNet, depth of 16 bits, masks. wan-vace: src_video and src_mask. das: the
    tracking video of Diffusion as Shader. go-with-the-flow: warped noise. after-effects: layered EXR with
    motion and cryptomatte.

    Attributes:
        out: folder for the files; made where it is missing.
    """

    scene: SceneFile
    target: Annotated[TargetName, tyro.conf.arg(name="for", help="who takes them")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    size: Annotated[str | None, option("N|WxH", "what the target was made for", ABOUT_SIZE)] = None
    backdrop: BackdropGeometry = "none"
    seed: Seed = 0
    view: View = field(default_factory=View)
    moments: Moments = field(default_factory=Moments)
    content: Content = field(default_factory=Content)
    objects: Objects = field(default_factory=Objects)
    debug: Debug = False


@dataclass(frozen=True)
class Preview:
    """Show a clip without any model: depth, texture coordinates and objects.

    Writes preview.mp4, with the three side by side, and contact_sheet.png.

    Attributes:
        out: folder for both; made where it is missing.
    """

    scene: SceneFile
    out: Annotated[Path | None, option("DIR", "runs/preview-SCENE")] = None
    size: Annotated[str | None, option("N|WxH", "256; that of EXR files", ABOUT_SIZE)] = None
    backdrop: BackdropGeometry = "none"
    view: View = field(default_factory=View)
    moments: Moments = field(default_factory=Moments)
    content: Content = field(default_factory=Content)
    objects: Objects = field(default_factory=Objects)
    debug: Debug = False


@dataclass(frozen=True)
class Unwrap:
    """Write a glTF scene with texture coordinates that will do; all else stays as it is.

    Vertices are split along seams. Materials whose pictures used the old coordinates go on using them, as a
    set of their own.

    Attributes:
        scene: a .gltf or .glb file.
        out: the new file.
        uv: new coordinates where the file's own will not do (auto), or for all objects (unwrap).
    """

    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    out: Annotated[Path, tyro.conf.arg(metavar="NEW.glb")]
    uv: Literal["auto", "unwrap"] = "auto"
    allow_folder: AllowedFolders = ()
    debug: Debug = False


@dataclass(frozen=True)
class Inspect:
    """Show what a scene holds: objects, triangles, animations, cameras and the state of the UVs.

    Of EXR files, show which channels were taken for what, sizes, frames and gaps. With --model, show a model
    instead: its networks, its picture size and the words that it knows.

    Attributes:
        scene: a glTF, USD, Alembic, OBJ or PLY file, a sequence such as frames/wave_*.obj, or EXR files: a
            folder or a pattern such as shot_%04d.exr.
        picture: draw the charts of every object: overlap is red, a mirrored chart is hatched.
        model: pocket, a single file, a folder in diffusers' layout, or a hub id.
    """

    scene: Annotated[tyro.conf.Positional[Path | None], option("SCENE", "none, with --model")] = None
    exr_map: ExrMapFile = None
    model: Annotated[str | None, option("MODEL", "none")] = None
    picture: Annotated[Path | None, option("FILE.png", "none")] = None
    objects: Objects = field(default_factory=Objects)
    json: Json = False
    allow_folder: AllowedFolders = ()
    debug: Debug = False


@dataclass(frozen=True)
class Verify:
    """Check without any model whether noise and features stick to the surfaces of a scene.

    Figures with what is expected of them, and two pictures: noise.png and features.png.

    Attributes:
        scene: a glTF, USD, Alembic, OBJ or PLY file, or a sequence such as frames/wave_*.obj.
        out: folder for the pictures; made where it is missing.
        size: picture size in pixels, multiples of 8: WIDTHxHEIGHT, or one number for a square, or for the
            longer side of the picture that a camera of the file takes.
    """

    scene: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SCENE")]
    json: Json = False
    out: Annotated[Path | None, option("DIR", "runs/verify-SCENE")] = None
    size: Annotated[str, tyro.conf.arg(metavar="N|WxH")] = "512"
    seed: Seed = 0
    view: VerifiedView = field(default_factory=VerifiedView)
    moments: Moments = field(default_factory=Moments)
    allow_folder: AllowedFolders = ()
    debug: Debug = False


@dataclass(frozen=True)
class Evaluate:
    """Measure a finished run: steadiness on surfaces, sharpness, and what a CLIP model says.

    Prints a table, and keeps the figures as metrics.json in the run folder.

    Attributes:
        reference: run folder of the same shot, such as one with --method per-frame, to relate sharpness to.
    """

    run_dir: RunFolderPath
    reference: Annotated[Path | None, option("RUN_DIR", "none")] = None
    judging: Judging = field(default_factory=Judging)
    json: Json = False
    debug: Debug = False


@dataclass(frozen=True)
class Diagnose:
    """Tell the known ways in which a video goes wrong from measurements, and which knob to turn.

    Attributes:
        reference: run folder of the same shot with --method per-frame, to tell blur.
    """

    run_dir: RunFolderPath
    reference: Annotated[Path | None, option("RUN_DIR", "none")] = None
    json: Json = False
    debug: Debug = False


@dataclass(frozen=True)
class Completion:
    """Print what makes a shell complete genrender's commands and options.

    bash: genrender completion bash > ~/.local/share/bash-completion/completions/genrender. zsh: into a file
    _genrender in a folder of $fpath. fish: into ~/.config/fish/completions/genrender.fish.

    Attributes:
        shell: bash, zsh or fish.
    """

    shell: Annotated[tyro.conf.Positional[Literal["bash", "zsh", "fish"]], tyro.conf.arg(metavar="SHELL")]
    debug: Debug = False

"""Groups of options that several commands share, each written once.

Plain data: the names of options are those of the fields, and `genrender.options.job` makes jobs of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from genrender.config import Dtype, Engine, NoiseMode, Placement, PresetName, UnifyRule
from genrender.methods.table import MethodName
from genrender.scene.choices import ObjectsBy, UvMode


def several(metavar: str) -> Any:
    """How words that stand without an option appear in the help, of which there is at least one."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="(required)")


def option(metavar: str, default: str, about: str | None = None) -> Any:
    """How an option appears in the help where its type and its default value do not say enough."""
    return tyro.conf.arg(metavar=metavar, help=about, help_behavior_hint=f"(default: {default})")


# Single options of several commands.

SceneFile = Annotated[
    tyro.conf.Positional[Path],
    tyro.conf.arg(
        metavar="SCENE",
        help="a glTF, USD, Alembic, OBJ or PLY file, a sequence such as frames/wave_*.obj, or EXR files: a "
        "folder or a pattern such as shot_%04d.exr",
    ),
]
RunFolderPath = Annotated[
    tyro.conf.Positional[Path],
    tyro.conf.arg(metavar="RUN_DIR", help="a run folder, as `genrender render` prints it"),
]
ExrMapFile = Annotated[
    Path | None,
    option(
        "FILE.json",
        "found out from the channels' names",
        "channels and conventions of EXR files whose names do not tell, see docs/exr.md",
    ),
]
AllowedFolders = Annotated[
    tyro.conf.UseAppendAction[tuple[Path, ...]],
    option(
        "DIR", "none", "where files of the scene may lie beside its own folder; may be given several times"
    ),
]
Debug = Annotated[bool, tyro.conf.arg(help="show where an error comes from")]
Json = Annotated[bool, tyro.conf.arg(help="print JSON and nothing else")]
ProgressAs = Annotated[
    Literal["bars", "json", "percent", "openjd"],
    tyro.conf.arg(
        help="bars for people; on stdout lines of JSON for programs (docs/programs.md), or percent for "
        "farms: `Progress: 42%`, or as Open Job Description has it (docs/farm.md)"
    ),
]
Seed = Annotated[
    int, tyro.conf.arg(metavar="S", help="another number gives another result, the same number the same")
]
Steps = Annotated[int | None, option("N", "the preset's", "diffusion steps")]
ModelName = Annotated[
    str,
    tyro.conf.arg(
        metavar="MODEL",
        help="pocket, sd15, a single file (.safetensors), a folder in diffusers' layout or a hub id",
    ),
]
ClipModel = Annotated[str | None, option("MODEL", "pocket's", "CLIP model to judge by, a folder or a hub id")]
DepthModel = Annotated[
    str | None,
    option(
        "MODEL",
        "none",
        "network that estimates depth, a folder or a hub id such as Intel/dpt-large, to judge whether the "
        "frames show the depth they were given",
    ),
]
Device = Annotated[
    str | None,
    option(
        "DEVICE",
        "cuda where there is one, else mps, else cpu",
        "where to compute, for instance cpu or cuda:1",
    ),
]
Devices = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]],
    option("DEVICE", "cuda where there is one, else mps, else cpu"),
]
Camera = Annotated[
    str | None,
    option(
        "CAMERA",
        "a static view that holds the whole clip",
        "orbit, turntable, static, dolly or handheld:SEED, perhaps with a lens (orbit,35mm; orbit,60deg; "
        "orbit,ortho); scene:NAME (a camera of the file) or FILE.json",
    ),
]
Start = Annotated[
    str | None,
    option(
        "FRAME|SECONDSs",
        "the animation's first key",
        "what the first frame shows: a frame number of the file, or seconds such as 0.5s",
    ),
]
ABOUT_SIZE = "in pixels: WIDTHxHEIGHT, or one number: a square, or the longer side with a camera of the file"
BackdropGeometry = Annotated[
    Literal["none", "ground", "dome", "both"],
    tyro.conf.arg(help="geometry behind the scene, with object index 16382 (ground) and 16383 (dome)"),
]

# Who takes passes: the names in `genrender.passes.targets`, which takes seconds to import.
TargetName = Literal["comfyui", "wan-vace", "das", "go-with-the-flow", "after-effects"]

Also = Annotated[
    str | None,
    option(
        "A,B,...",
        "nothing",
        "for compositors, of alpha (PNG), exr (linear, with alpha), mattes (cryptomatte) and prores (4444)",
    ),
]
Upscale = Annotated[
    str | None, option("MODEL", "none", "Swin2SR network that enlarges finished frames, a folder or a hub id")
]

# Where a server keeps its things, unless told otherwise.
STUDIO = Path("genrender-studio")
StudioFolder = Annotated[
    Path, tyro.conf.arg(metavar="DIR", help="folder of a server: scenes, runs and their order")
]
Token = Annotated[
    str | None,
    option("TEXT", "GENRENDER_TOKEN of the environment, else none", "secret that a server wants to be told"),
]


# Groups.


@dataclass(frozen=True)
class View:
    """What of the scene is shown, and from where.

    Attributes:
        frames: number of frames.
        animation: name or number of one animation; `all` plays all that move different things.
    """

    frames: Annotated[int | None, option("N", "from start to end; 24 if nothing moves")] = None
    camera: Camera = None
    animation: Annotated[str | None, option("NAME", "all that move different things")] = None


@dataclass(frozen=True)
class VerifiedView(View):
    """What of the scene is looked at, and from where."""

    frames: Annotated[
        int | None, option("N", "from start to end; 24 if nothing moves", "number of frames, at least 2")
    ] = None


@dataclass(frozen=True)
class Moments:
    """Which moments of an animation are shown.

    Attributes:
        end: what the last frame shows, likewise; instead of --frames.
        fps: frames per second.
    """

    start: Start = None
    end: Annotated[str | None, option("FRAME|SECONDSs", "the animation's last key")] = None
    fps: Annotated[float | None, option("R", "the file's own; 24 if it tells none")] = None


@dataclass(frozen=True)
class Objects:
    """What an object is.

    Attributes:
        objects: what one object is: a mesh as one node shows it, all of one material, or all of one mesh.
        merge: objects that become one, for instance "wheel*=Wheels"; may be given several times.
        ignore: objects that are left out, for instance "Helper*"; may be given several times.
    """

    objects: ObjectsBy = "node"
    merge: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("PATTERN=NAME", "none")] = ()
    ignore: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("PATTERN", "none")] = ()


@dataclass(frozen=True)
class Content:
    """How the scene is taken.

    Attributes:
        loop: begin an animation again after its end, instead of holding its last pose.
        uv: texture coordinates of the file (keep), new ones where those will not do (auto), or all new.
    """

    loop: bool = False
    uv: UvMode = "auto"
    exr_map: ExrMapFile = None
    allow_folder: AllowedFolders = ()


@dataclass(frozen=True)
class Model:
    """What paints, and how long it takes.

    Attributes:
        preset: settings to start from; fast and preview take fewer steps, paper is as published.
    """

    model: ModelName = "pocket"
    preset: PresetName = "balanced"
    steps: Steps = None
    seed: Seed = 0


@dataclass(frozen=True)
class Adapters:
    """What is added to the model. Sources are files, folders or hub ids; see docs/models.md.

    Attributes:
        lora: LoRA with its weight, such as ink.safetensors:0.8; may be given several times.
        embedding: textual inversion, whose word the prompt then may say; may be given several times.
        controlnet: ControlNet or T2I-Adapter that reads depth, normal, lineart or segmentation of the scene,
            such as normal=FILE:0.7,0,0.5 (weight, begin and end as shares of the steps); `own` is the
            model's; may be given several times.
        ip_adapter: IP-Adapter with its weight, which reads --ip-image; may be given several times.
        ip_image: reference picture for it.
        motion_adapter: AnimateDiff's motion modules.
        vae: autoencoder to use instead of the model's own, such as madebyollin/taesd, which decodes faster.
    """

    lora: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("SOURCE[:WEIGHT]", "none")] = ()
    embedding: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("SOURCE", "none")] = ()
    controlnet: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        option("[KIND=]SOURCE[:SCALE[,START,END]]", "depth by the model's own"),
    ] = ()
    ip_adapter: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("SOURCE[:SCALE]", "none")] = ()
    ip_image: Annotated[tyro.conf.UseAppendAction[tuple[Path, ...]], option("FILE", "none")] = ()
    motion_adapter: Annotated[str | None, option("SOURCE", "none")] = None
    vae: Annotated[str | None, option("SOURCE", "the model's own")] = None


@dataclass(frozen=True)
class Sampling:
    """How the model is sampled.

    Attributes:
        guidance: how strictly the prompt is followed (classifier-free guidance); 1 or less does without.
        guidance_rescale: 0..1, takes back the contrast that strong guidance adds.
        guess_mode: only control networks steer; the prompt may be vague.
        clip_skip: how many of the text encoder's last layers are left out.
        scheduler: a sampler by name, such as euler or dpm++-2m-karras; a wrong name lists them all.
        timesteps: the steps themselves, such as 999,759,499,259, instead of --steps.
        sigmas: noise levels, likewise.
    """

    guidance: Annotated[float | None, option("G", "the preset's, else the model's")] = None
    guidance_rescale: Annotated[float, tyro.conf.arg(metavar="R")] = 0.0
    guess_mode: bool = False
    clip_skip: Annotated[int | None, option("N", "none")] = None
    scheduler: Annotated[str | None, option("NAME", "the preset's")] = None
    timesteps: Annotated[str | None, option("T,T,...", "the scheduler's")] = None
    sigmas: Annotated[str | None, option("S,S,...", "the scheduler's")] = None


@dataclass(frozen=True)
class Networks:
    """Which files the networks come from, and where they compute.

    Attributes:
        revision: branch, tag or commit of a hub model.
        variant: which of several sets of weights, such as fp16.
        no_safety_checker: leave out the model's safety checker.
        allow_pickle: read weights that are no safetensors, too; such a file can run code.
        dtype: numbers that the networks compute in.
        offload: keep networks (model) or single layers (sequential) off the device while they wait.
        chunk: frames that go through the networks at once, fewer where the memory does not suffice; changes
            memory and speed only.
    """

    revision: Annotated[str | None, option("NAME", "the one that was tried, else main")] = None
    variant: Annotated[str | None, option("NAME", "the smallest that suffices")] = None
    no_safety_checker: bool = False
    allow_pickle: bool = False
    device: Device = None
    dtype: Annotated[
        Dtype | None,
        option(
            "float32|float16|bfloat16",
            "float16 on cuda, float32 there for pocket; bfloat16 on a CPU that computes in it; else float32",
        ),
    ] = None
    offload: Placement = "none"
    chunk: Annotated[int, tyro.conf.arg(metavar="N")] = 8


@dataclass(frozen=True)
class Looks:
    """What objects look like.

    Attributes:
        prompt_for: what one object shows, for instance Fox="a bronze fox"; may be given several times. Names
            may be patterns such as wheel*; ground and dome are the backdrop's.
        prompt_at: what the whole video shows from a frame on, for instance 24="a fox in snow"; it changes
            evenly up to there; may be given several times.
        appearance_from: folder of a run whose look this one takes over, object by object of equal name; both
            must be alike in model, sampler, steps and size.
    """

    prompt_for: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("OBJECT=TEXT", "none")] = ()
    prompt_at: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("FRAME=TEXT", "none")] = ()
    appearance_from: Annotated[Path | None, option("RUN_DIR", "none")] = None


@dataclass(frozen=True)
class Extras:
    """What a video is finished with, and what is told before and while it is made, see docs/compositing.md.

    Attributes:
        seeds: makes no run: four frames of the clip with each seed, on one sheet to choose from.
        resume: go on where an earlier attempt at the same command stopped in --run-dir; where that is
            finished, do nothing. For farms, which give the same command again.
    """

    also: Also = None
    upscale: Upscale = None
    seeds: Annotated[str | None, option("FIRST-LAST|S,S,...", "none")] = None
    resume: bool = False
    progress: ProgressAs = "bars"


@dataclass(frozen=True)
class Parts:
    """A long clip made in parts, anywhere and in any order: its keyframes once, then any of its frames.

    Attributes:
        only: the keyframes, or frames by their numbers from 0, such as 0-49. All other options say what the
            whole clip is, and are the same for all parts.
        keyframes_from: run folder of the keyframes.
        workers: processes that make parts of the clip side by side, against keyframes that are made first; on
            one machine a GPU for each, as far as there are. The frames are the same whatever their number.
        ray: address of a Ray cluster whose machines they are on, such as auto or HOST:PORT.
    """

    only: Annotated[str | None, option("keyframes|FIRST-LAST", "the whole clip")] = None
    keyframes_from: Annotated[Path | None, option("RUN_DIR", "drawn anew at every step")] = None
    workers: Annotated[int | None, option("N", "the whole clip in one process")] = None
    ray: Annotated[str | None, option("ADDRESS", "this machine")] = None


@dataclass(frozen=True)
class Consistency:
    """How frames are made to agree; the presets' settings are a good start.

    Attributes:
        noise: where the initial noise comes from, see docs/settings.md.
        engine: how surface points are found again in other frames: in the objects' textures, or projected.
        alpha: weight of the blended surface features, 0..1.
        unify: how keyframes that show the same surface point are combined, see docs/settings.md.
        keyframes: number of keyframes of each step.
        set: any setting of the method, for instance injection.alpha_end=0.4; may be given several times. A
            wrong name lists them all.
        lock: how far surfaces show the detail of the frames that see them best, 0..1; light stays.
    """

    noise: Annotated[
        NoiseMode | None, option("partition|bridge|nearest|fixed|independent", "the preset's")
    ] = None
    engine: Annotated[Engine | None, option("texture|reproject", "the preset's")] = None
    alpha: Annotated[float | None, option("A", "the preset's")] = None
    unify: Annotated[UnifyRule | None, option("fill|mean|paper|rising", "the preset's")] = None
    keyframes: Annotated[int | None, option("K", "an eighth of the frames, 3 to 8; 2 with preview")] = None
    set: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], option("STAGE.NAME=VALUE", "none")] = ()
    lock: Annotated[float | None, option("L", "the preset's; 0 with --prompt-at or another --method")] = None


@dataclass(frozen=True)
class Rival:
    """Other methods, for comparison.

    Attributes:
        method: per-frame switches off everything that makes the frames agree; the others but generative are
            parts of it and rivals.
    """

    method: MethodName = "generative"


@dataclass(frozen=True)
class Judging:
    """Networks that look at frames."""

    clip: ClipModel = None
    depth_model: DepthModel = None


@dataclass(frozen=True)
class Connection:
    """Which server is asked."""

    server: Annotated[
        str | None,
        option("URL", "that of the server of --folder", "address of a server, such as http://127.0.0.1:7860"),
    ] = None
    folder: StudioFolder = STUDIO
    token: Token = None


# What `--help` names and `--help-all` shows: few need these.
FOLDED = (
    *(Moments, Content, Objects, Looks, Adapters, Sampling, Networks, Consistency, Extras, Parts, Rival),
    Judging,
    Connection,
)

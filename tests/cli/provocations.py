"""Mistakes at the command line, by what their maker was doing: `docs/errors.md` is made of them.

A row is the end of a command; its group has the beginning. What genrender answers is written nowhere but in
the page, which `tools/errors.py` writes by running every row, and a test compares with what rows answer now.
"""

import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from genrender.cli import main
from genrender.cli.console import tell_error
from genrender.storage.untrusted import shown

ERROR = "genrender: error: "
# Characters of a line on the page.
MOST = 400
# What libraries say changes with their versions.
LIBRARY = r"(?<=\()[^()]*(?:\([^()]*\)[^()]*)*(?=\))"


@dataclass(frozen=True)
class Row:
    """One mistake.

    Attributes:
        words: end of the command line, as for a shell.
        varies: a pattern of what the answer says differently elsewhere; the page has dots there.
        lacks: a library that is not installed then.
    """

    words: str
    varies: str = ""
    lacks: str = ""


@dataclass(frozen=True)
class Group:
    """Mistakes of one occasion.

    Attributes:
        title: what somebody was doing.
        about: what helps with most of them.
        begin: begins every command line of it.
        rows: the mistakes.
    """

    title: str
    about: str
    begin: str
    rows: list[str | Row] = field(default_factory=list)

    def commands(self) -> Iterator[Row]:
        """Whole command lines."""
        for row in self.rows:
            row = row if isinstance(row, Row) else Row(row)
            yield Row(f"{self.begin} {row.words}".strip(), row.varies, row.lacks)


RENDER = 'render card.glb --prompt "a fox" --model tiny'
GROUPS = [
    Group(
        "Naming a scene",
        "The name is mended, or the program that wrote the file exports it once more. `genrender inspect` "
        "tells whether a file can be read, and docs/formats.md what is read of each format.",
        "inspect",
        [
            *("", "card.glb --model tiny", "--model tiny --picture x.png", "--model tiny --merge a=b"),
            *("nowhere.glb", "notes.txt", "car.fbx", "empty", "card.glb/x", "wave_*.obj"),
            *("card.glb --allow-folder nowhere", "a\x00.glb", f"{'x' * 300}.glb"),
        ],
    ),
    Group(
        "Reading a glTF file",
        "Most of these are mistakes of the program that wrote the file, and a new export mends them.",
        "inspect",
        [
            *("letter.glb", "comma.json.gltf", "list.gltf", "table.gltf", "old.gltf", "utf16.gltf"),
            *("short.glb", "stub.glb", "v1.glb", "chunk.glb", "extension.gltf", "structure.gltf"),
            *("reference.gltf", "no_mesh.gltf", "circle.gltf", "parents.gltf", "translation.gltf"),
            *("scale.gltf", "accessor.gltf", "count.gltf", "component.gltf", "kind.gltf", "no_data.gltf"),
            *("view.gltf", "stride.gltf", "floats.gltf", "mode.gltf", "index.glb", "sparse.glb"),
            *("no_length.gltf", "cut.gltf", "no_blob.gltf", "elsewhere.gltf", "web.gltf", "lost.gltf"),
            *("comma.gltf", Row("base64.gltf", LIBRARY), Row("null.gltf", r"(?<=read: ).*(?=; mend)")),
            *("nan.glb", "empty.glb", "joint.glb", "heavy.glb", "no_joints.glb", "matrices.glb"),
            *("keys.glb", "values.glb", "n_values.glb", "curve.glb", "sampler.glb"),
            *("draco.gltf", Row("draco_data.gltf", lacks="DracoPy"), "morphs.glb", "morph_weights.gltf"),
        ],
    ),
    Group(
        "Reading other formats",
        "As for glTF; of sequences, all files have the same faces.",
        "inspect",
        [
            *("empty.obj", "vertex.obj", Row("face.obj", LIBRARY), "corner.obj", Row("junk.ply", LIBRARY)),
            *(Row("row.ply", LIBRARY), Row("syntax.usda", r"(?<=line 5: ).*(?=; mend)"), "bare.usda"),
            *(
                "rate.usda",
                "unit.usda",
                "axis.usda",
                "corners.usda",
                "far.usda",
                Row("bare.usda", lacks="pxr"),
            ),
            *(Row("junk.abc", LIBRARY), Row("junk.abc", lacks="alembic3d")),
            *("wave", "mixed", "wave/a_*.obj@0"),
        ],
    ),
    Group(
        "Choosing what is shown",
        "Frames, cameras and animations are of the file: `genrender inspect` lists them.",
        "gbuffers card.glb --out out --size 16",
        [
            *(
                "--frames 0",
                "--frames -3",
                "--frames 1000000000",
                "--fps 0",
                "--fps nan",
                "--size 0",
                "--size 64x64x64",
                "--size big",
            ),
            *("--size 100000", "--times 0,soon", "--times nan", "--times 0,1 --frames 2"),
            *("--start soon", "--frames 2 --end 4", "--start 9 --end 2", "--animation Fly", "--animation 2"),
            *("--camera drone", "--camera orbit,fish", "--camera orbit,1e9mm", "--camera dolly,ortho"),
            *("--camera scene:Back", "--camera path.json"),
            *(f"--camera camera_{name}.json" for name in ("number", "unknown", "no_eye", "same", "no_up")),
            *(f"--camera camera_{name}.json" for name in ("two_lenses", "wide", "when", "no_time", "late")),
            *("--camera camera_lenses.json", "--camera camera_through.json --times 0.5"),
            *("--out a-file", "--out a-file/g", "--objects material"),
            *("--merge Eye", "--merge wheel*=Whe*ls", "--merge Wheel=W", "--ignore *", "--ignore Wheel"),
        ],
    ),
    Group(
        "Scenes that do not have what is asked for",
        "`genrender inspect` lists what a scene has.",
        "gbuffers",
        [
            "bare.glb --out out --animation Walk",
            "bare.glb --out out --camera scene:0",
            "boom.glb --out out --times 1",
        ],
    ),
    Group(
        "Asking for a video",
        "`genrender render --help-all` explains every option.",
        RENDER,
        [
            *(
                "--prompt ' '",
                "--size 60",
                "--size 64x60",
                "--steps 0",
                "--chunk 0",
                "--keyframes 0",
                "--alpha 1.5",
                "--alpha nan",
            ),
            *("--guidance inf", "--guidance-rescale 2", "--seed -1", f"--seed {10**30}", "--lock 2"),
            *(
                "--repeat 0",
                "--repeat 100000000",
                "--clip-skip 0",
                "--clip-skip 9",
            ),
            *("--offload model --device cpu", Row("--device abacus", LIBRARY), "--backdrop beach"),
            *("--negative-prompt \udcff", "--scheduler eulr", "--scheduler euler-lcm"),
            *("--timesteps 999,1 --sigmas 9,1", "--timesteps 1,999", "--timesteps 9.5,1", "--sigmas 1"),
            *("--steps 4 --timesteps 999,1", "--timesteps high", "--frames 3 --prompt-at 9=snow"),
            *("--prompt-at 2=a --prompt-at 2=b", "--prompt-at snow", "--prompt-at '1= '"),
            *("--prompt-for fox", "--prompt-for Dog=a", "--prompt-for 'card= '"),
            *("--prompt '(fox:900)'", "--prompt '<lora:ink:1>'", "--prompt '[red:blue:0.5] fox'"),
            *(Row("--prompt '(red:1.2) fox'", lacks="compel"), "--exr-map map_kind.json"),
            *("--seeds many", "--seeds 0-99", "--seeds 0-3 --only keyframes", "--also gold"),
            "--upscale nowhere",
        ],
    ),
    Group(
        "Setting the method",
        "The presets are a good start: leave the option out.",
        RENDER,
        [
            *("--set x=1", "--set noise.mode", "--set noise.mode=loud", "--set noise.texture_side=0"),
            *("--set noise.texture_side=many", "--set noise.degradation=2", "--set 'injection.layers=('"),
            *(
                "--set injection.layers=nowhere",
                "--set injection.low_band=2",
                "--set injection.n_keyframes=0",
            ),
            *(
                "--set 'injection.alpha_layers=(=0.5'",
                "--set injection.alpha_layers=up=9",
                "--set injection.alpha_layers=up",
            ),
            *("--set correspondence.ratio=0", "--set correspondence.ratio=9000"),
            *("--set correspondence.side_layers=up=0", "--set correspondence.ratio_layers=up=0"),
            *(
                "--set latents.synchronise_from=2",
                "--set correspondence.fill_order=sequence --set injection.unify=rising",
            ),
            *(
                "--method per-frame --alpha 0.5",
                "--method surface-noise --noise fixed",
                "--method fixed-noise --noise partition",
            ),
            *(
                "--method tokenflow --alpha 0",
                "--method tokenflow --set injection.alpha_begin=0",
                "--method static-texture --lock 1",
            ),
            *(
                "--method per-frame --appearance-from run",
                "--method per-frame --only keyframes",
                "--method per-frame --keyframes 0",
            ),
        ],
    ),
    Group(
        "Choosing a model",
        "docs/models.md says which models there are and where they may lie; `genrender inspect --model` "
        "tells what one is.",
        'render card.glb --prompt "a fox"',
        [
            *(
                "--model nothing",
                "--model pockt",
                "--model .",
                "--model damaged",
                "--model other",
                "--model list",
            ),
            *("--model sizeless", "--model no-tokenizer", "--model notes.txt", "--model pickled.pt"),
            *(Row("--model cut.safetensors", LIBRARY), "--model plain.safetensors"),
            *("--model tiny --variant fp8", "--model tiny --vae plain.safetensors"),
            *("--model somebody/model", "--model tiny --revision old", "--model tiny --vae nowhere"),
        ],
    ),
    Group(
        "Adding to a model",
        "docs/adapters.md and docs/controls.md say what fits together.",
        RENDER,
        [
            *("--lora nowhere", "--lora plain.safetensors", "--lora misfit.safetensors"),
            *("--lora plain.safetensors:much", "--lora plain.safetensors:1,2", "--lora :"),
            *("--lora model.ckpt", "--lora notes.txt"),
            Row("--lora misfit.safetensors", lacks="peft"),
            *("--embedding plain.safetensors", "--embedding word.safetensors"),
            *("--controlnet smell=x.safetensors", "--controlnet depth=", "--controlnet plain.safetensors"),
            *("--controlnet own:1,0.9,0.1", "--controlnet own:high", "--controlnet own --controlnet own"),
            *("--ip-image good.png", "--ip-adapter half.safetensors"),
            *("--ip-adapter half.safetensors --ip-image nowhere.png", "--ip-adapter half.safetensors:x"),
            *("--ip-adapter a --ip-image good.png --ip-image good.png", "--motion-adapter nowhere"),
            "--motion-adapter plain.safetensors",
        ],
    ),
    Group(
        "Saying where a video goes",
        "A folder is made where it is missing, but for the one of `--out`.",
        RENDER,
        [
            *("--out nowhere/x.mp4", "--out a-file/x.mp4", "--out a-folder.mp4", "--out x.gif"),
            *(
                "--run-dir a-file",
                "--run-dir a-file/run",
                "--run-dir files",
                "--run-dir files/letter.txt",
                "--run-dir .",
            ),
        ],
    ),
    Group(
        "Making a clip in parts, or with another run's look",
        "All parts say the same of the clip; docs/farm.md has the commands.",
        f"{RENDER} --animation Rise --size 64 --steps 2",
        [
            *("--only some --keyframes-from keys", "--only 5-1 --frames 6 --keyframes-from keys"),
            *("--only 0-99 --frames 6 --keyframes-from keys", "--only 0-1 --frames 6"),
            *("--only keyframes --keyframes-from keys", "--keyframes-from keys --appearance-from run"),
            *(
                "--only 0-1 --frames 5 --keyframes-from keys",
                "--only 0-1 --frames 6 --keyframes-from nowhere",
            ),
            "--only 0-1 --frames 6 --keyframes 2 --keyframes-from keys --seed 1",
            "--only 0-1 --frames 6 --keyframes 2 --keyframes-from keys --camera orbit",
            *("--frames 3 --appearance-from nowhere", "--frames 3 --appearance-from lost-look"),
            *(Row("--frames 3 --appearance-from cut-look", LIBRARY), "--frames 3 --appearance-from small"),
            *(
                "--frames 3 --appearance-from stopped",
                "--frames 3 --appearance-from run --engine reproject",
                "--frames 3 --appearance-from run --alpha 0 --set injection.pre_attn=false",
            ),
        ],
    ),
    Group(
        "Going on with a run",
        "What cannot be gone on with is rendered again, by the command in its unfinished/request.json.",
        "resume",
        [
            *("nowhere", "empty", "bad-request", "changed-request", "moved"),
        ],
    ),
    Group(
        "Using a finished run",
        "The folder is the one that `genrender render` printed, and the scene lies where it was.",
        "",
        [
            *("evaluate nowhere", "evaluate files", "evaluate stopped", "evaluate bad-record"),
            *("evaluate old-record", "evaluate lost-frame"),
            *("diagnose nowhere", "diagnose picture", "diagnose run --reference small"),
            *(
                "finish run",
                "finish run --also gold",
                "finish nowhere --also alpha",
                "finish stopped --also exr",
            ),
            *("finish run --upscale nowhere", "finish run --upscale a-file"),
            *(
                "finish run --also alpha --device cpu",
                Row("finish run --upscale nowhere --device abacus", LIBRARY),
            ),
            *(
                "join --out x.mp4",
                "join run --out x.gif",
                "join nowhere --out x.mp4",
                "join part-0 part-4 --out x.mp4",
            ),
            *("join part-0 part-1 --out x.mp4", "join lost-frame --out x.mp4"),
            Row("join part-0 run --out x.mp4", r"(?<=keyframes is ')[0-9a-f]+"),
            "join keys --out x.mp4",
        ],
    ),
    Group(
        "Rendering from EXR files",
        "docs/exr.md says which passes are needed and how they are rendered.",
        'render --prompt "a fox" --model tiny',
        [
            *("exr-no-uv", "exr-soft", "exr-flat", "exr-nan", "exr-sizes", "exr-gap", "exr-same"),
            *("exr-junk", "exr-cut", "nowhere/*.exr", "text.exr"),
            *("exr-good --camera orbit", "exr-good --backdrop ground", "exr-good --engine reproject"),
            *("exr-good --size 60", "exr-good --size 64x32", "exr-good --frames 9", "exr-good --start 9"),
            *("exr-good --frames 2 --end 2", "exr-good --exr-map nowhere.json"),
            *(f"exr-good --exr-map map_{name}.json" for name in ("unknown", "number", "kind", "distance")),
            "exr-good --exr-map map_nowhere.json",
        ],
    ),
    Group(
        "Writing passes, previews and new texture coordinates",
        "These need no model.",
        "",
        [
            "passes card.glb --for wan-vace --out out --size 60",
            "passes card.glb --for wan-vace --out out --frames 6",
            "passes exr-good --for comfyui --out out --camera orbit",
            *("preview card.glb --out a-file", "preview card.glb --size 0", "preview exr-good --size 64x32"),
            *("unwrap wave --out x.glb", "unwrap card.glb --out x.obj", "unwrap card.glb --out card.glb"),
            *("verify card.glb --frames 1", "verify card.glb --size 60", "verify exr-good"),
            "verify card.glb --camera camera_away.json --size 64 --frames 2",
            "inspect exr-good --picture x.png",
        ],
    ),
    Group(
        "Comparing, studying and batches",
        "Comparisons and studies need two frames at least; `--report` and studies draw with matplotlib.",
        "",
        [
            'compare card.glb --prompt "a fox" --methods ours',
            'compare card.glb --prompt "a fox" --frames 1',
            'compare card.glb --prompt "a fox" --report a-folder.html',
            Row('compare card.glb --prompt "a fox" --report x.html', lacks="matplotlib"),
            'compare exr-good --prompt "a fox" --methods static-texture',
            *("study steps card.glb", "study steps card.glb=fox --seeds many"),
            *("study steps card.glb=fox --frames 1", "study steps card.glb=fox --out a-file"),
            'study steps card.glb=a "wave/../card.glb=b"',
            Row("study steps card.glb=fox", lacks="matplotlib"),
            *("batch nowhere.jsonl", "batch a-file", "batch notes.txt --retries -1"),
        ],
    ),
    Group(
        "Training",
        "Stages follow each other: data, vae, clip, judge, diffusion, export.",
        "train",
        [
            *("pocket --stage vae --work-dir void", "pocket --stage export --work-dir void"),
            *("pocket --steps 0", Row("pocket --device abacus", LIBRARY), "pocket --init files"),
            *("pocket --out a-file", "pocket --out files", "pocket --work-dir a-file"),
            *("pocket --report --stage vae", "motion --steps 0"),
            *("motion --shards 3", "pocket --report --characters fox", "motion --init files"),
        ],
    ),
    Group(
        "Serving the page, and asking a server",
        "`genrender serve` says where it listens; `genrender submit` finds it by its folder.",
        "",
        [
            *("serve --host 0.0.0.0", "serve --token short", "serve --port 99999", "serve --max-frames 0"),
            *(Row("serve", lacks="fastapi"), "serve --folder a-file"),
            *("jobs", "jobs --server nonsense", "jobs --cancel a --wait b"),
            Row("jobs --server http://127.0.0.1:9", LIBRARY),
            'submit card.glb --prompt "a fox" --folder empty',
            'submit nowhere.glb --prompt "a fox" --server http://127.0.0.1:9',
            'submit card.glb --prompt "a fox" --progress json',
            *("jobs --out x.mp4", "jobs --search fox --wait a", "jobs --cancel a --resume b"),
            'submit card.glb --prompt "a fox" --run-dir x',
            'submit card.glb --prompt "a fox" --out x.gif',
            'submit card.glb --prompt "a fox" --seeds 0-3 --out x.mp4',
            'submit card.glb --prompt "a fox" --resume',
            'submit card.glb --prompt "a fox" --camera path.json --server http://127.0.0.1:9',
        ],
    ),
]


@dataclass(frozen=True)
class Answer:
    """What became of a row.

    Attributes:
        command: as it was typed.
        code: exit code.
        out: on stdout.
        err: on stderr, as it was said.
        message: the error, with dots where it varies.
        kind: its class.
    """

    command: str
    code: int
    out: str
    err: str
    message: str
    kind: type[BaseException] | None


def ask(row: Row) -> Answer:
    """Runs a whole command line in this process and folder; hubs cannot be reached."""
    said, told = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    kinds: list[type[BaseException] | None] = []

    def tell(text: str) -> None:
        kinds.append(sys.exc_info()[0])
        tell_error(text)

    with ExitStack() as stack:
        stack.enter_context(mock.patch("genrender.cli.tell_error", tell))
        stack.enter_context(mock.patch("genrender.backbones.hub.is_reachable", return_value=False))
        stack.enter_context(mock.patch.dict(os.environ, {"COLUMNS": "200"}))
        if row.lacks:
            stack.enter_context(mock.patch.dict(sys.modules))
            # Readers that have the library are imported once more, and find it gone.
            begins = (f"{row.lacks}.", "genrender.scene.formats.usd", "genrender.scene.formats.alembic")
            for name in [name for name in sys.modules if name.startswith(begins)]:
                del sys.modules[name]
            sys.modules[row.lacks] = None  # pyright: ignore[reportArgumentType]
        stack.enter_context(redirect_stdout(told))
        stack.enter_context(redirect_stderr(said))
        code = main(shlex.split(row.words))
    out, err = (stream.buffer.getvalue().decode() for stream in (told, said))
    message = (err.splitlines() or [""])[-1].removeprefix(ERROR).replace(f"{Path.cwd()}/", "")
    if row.varies:
        message = re.sub(row.varies, "...", message)
    return Answer(row.words, code, out, err, message, kinds[-1] if kinds else None)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below it, of files the size and the time as well."""
    found = sorted((path, path.stat()) for path in folder.rglob("*"))
    # A folder's time tells of files that were there for a moment, to try whether they can be.
    return {
        str(path.relative_to(folder)): (0, 0) if path.is_dir() else (state.st_size, state.st_mtime_ns)
        for path, state in found
    }


def answers(folder: Path) -> dict[str, list[Answer]]:
    """What every row is answered in a folder of `broken_files`, by titles of groups."""
    before, found = contents(folder), {}
    for group in GROUPS:
        found[group.title] = []
        for row in group.commands():
            answer = ask(row)
            assert contents(folder) == before, f"{row.words}: has written"
            found[group.title].append(answer)
    return found


HEAD = """# What genrender says when something is wrong

One line on stderr, `genrender: error: ...`, and exit code 2; nothing half-written stays behind. The line says
what is wrong, where, what was expected and how to mend it. Each line answers the command below it;
dots stand for what a library says.

`python tools/errors.py` makes this page by making every mistake in it, and a test makes them all again.
"""


def page(answered: dict[str, list[Answer]]) -> str:
    """The page of the docs: answers by what somebody was doing, without repetitions."""
    parts = [HEAD]
    for group in GROUPS:
        parts.append(f"\n## {group.title}\n\n{group.about}\n\n")
        seen = set()
        for row, answer in zip(group.commands(), answered[group.title], strict=True):
            if answer.message not in seen:
                seen.add(answer.message)
                without = f" (without {row.lacks})" if row.lacks else ""
                parts.append(
                    f"- {_code(answer.message)}\\\n  {_code('genrender ' + answer.command)}{without}\n"
                )
    return "".join(parts)


def _code(text: str) -> str:
    """As code of Markdown, cut where it is long; what cannot be shown is spelled out."""
    text = shown(text).replace("`", "'")
    return f"`{text if len(text) <= MOST else text[: MOST - 3] + '...'}`"

"""`genrender render`: a scene and a sentence in, a video out."""

import datetime
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from genrender.backbones.picture_size import PictureSize, read_picture_size
from genrender.backbones.sources import (
    ModelSource,
    find_model,
    read_vocabulary,
    unknown_words,
    weights_digest,
)
from genrender.backbones.suggest import nearest_word
from genrender.cli.console import listed, note, say, warn
from genrender.cli.exr import exr_map, plan_exr_shot
from genrender.cli.options import Render
from genrender.cli.scene import object_rule, picture_size
from genrender.config import PRESETS, MethodConfig, RunConfig
from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.exr.files import is_exr_sequence
from genrender.jobs.settings import change_setting
from genrender.runs.folder import RunFolder
from genrender.scene.backdrop import parse_backdrop
from genrender.scene.load import load_scene, scene_label
from genrender.scene.names import partners
from genrender.scene.scene import Scene
from genrender.shots.clip import Shot, ShotConfig, plan_shot
from genrender.shots.exr_shot import ExrShot
from genrender.shots.objects import atlas_ids_by_name
from genrender.storage.atomic import check_writable
from genrender.storage.limits import RUN_BYTES, bytes_on_disk, check_disk
from genrender.storage.run_files import APPEARANCE_FILE


def render(options: Render, command: list[str], resume: bool = False) -> None:
    """Makes a video; what can be wrong is found out before any slow work and before anything is written.

    With `resume` it goes on where an earlier attempt in the same run folder stopped.
    """
    # 1. Everything that is quick to check.
    config = run_config(options)
    config.check()
    source = find_model(options.model)
    folder = _run_folder(options)
    _check_out(options.out, folder)
    shot = _plan(options, config, source)
    _check_disk(shot, folder)
    if options.appearance_from is not None:
        _check_lent(options.appearance_from, config, source, shot)
    _warn_of_unknown_words(config, source)
    if config.negative_prompt and config.guidance_scale is not None and config.guidance_scale <= 1:
        warn(
            f"the negative prompt does nothing at --guidance {config.guidance_scale:g}; it needs more than 1"
        )

    # 2. Everything that is slow. PyTorch and diffusers alone take seconds to import.
    from genrender.cli.generate import generate

    generate(options, config, source, shot, folder, command, resume)

    # 3. Where everything is.
    video = folder.video_file if options.out is None else options.out
    say(f"video          {video}")
    say(f"contact sheet  {folder.contact_sheet_file}")
    say(f"run folder     {folder.path}")


def _plan(options: Render, config: RunConfig, source: ModelSource) -> Shot | ExrShot:
    if is_exr_sequence(options.scene):
        return plan_exr_shot(options, config, read_picture_size(source).vae_factor)
    exr_map(options.scene, options.exr_map)
    scene = load_scene(options.scene, options.allow_folder)
    # This may fetch a hub model's configuration, so what needs no network has been checked before.
    picture = read_picture_size(source)
    size = _size(options, scene, picture)
    shot_config = ShotConfig(
        size=size,
        animation=options.animation,
        n_frames=options.frames,
        fps=options.fps,
        start=options.start,
        end=options.end,
        camera=options.camera,
        loop=options.loop,
        backdrop=parse_backdrop(options.backdrop).kind,
        uv=options.uv,
        objects=object_rule(options),
    )
    shot = plan_shot(scene, shot_config)
    config.method.correspondence.check_map_size(size[1] // picture.vae_factor, size[0] // picture.vae_factor)
    for name, _ in config.object_prompts:
        shot.scene.find_objects(name)
    return shot


def run_config(options: Render) -> RunConfig:
    """The preset with everything that was asked for otherwise.

    Raises:
        ConfigError: two options contradict each other.
    """
    preset = PRESETS[options.preset]
    method = preset.method
    if options.method != "generative":
        # Only here: it loads torch, and most mistakes can be told before that.
        from genrender.methods.table import METHOD_OPTIONS, METHODS

        chosen = METHODS[options.method]
        method = method if chosen.config is None else _with_keyframes(chosen.config, preset)
        for name in sorted(METHOD_OPTIONS - chosen.options):
            if getattr(options, name) not in (None, ()):
                raise ConfigError(
                    f"--{name} means nothing with --method {options.method}; leave one of them out"
                )
        if options.noise is not None and chosen.config is not None and options.noise not in chosen.noises:
            raise ConfigError(
                f"--noise {options.noise} makes another method of {options.method}, expected "
                f"{' or '.join(chosen.noises)}"
            )
    if options.appearance_from is not None and options.method != "generative":
        raise ConfigError("--appearance-from is a part of --method generative; leave one of them out")
    config = replace(
        preset,
        prompt=options.prompt,
        negative_prompt=options.negative_prompt,
        object_prompts=tuple(parse_object_prompt(text) for text in options.prompt_for),
        method=_override(method, options),
        n_steps=preset.n_steps if options.steps is None else options.steps,
        guidance_scale=preset.guidance_scale if options.guidance is None else options.guidance,
        seed=options.seed,
        chunk_size=options.chunk,
        stabilise=options.stabilise,
        repeat=options.repeat,
        background_color=parse_backdrop(options.backdrop).color,
    )
    for text in options.set:
        config = change_setting(config, text)
    return config


def parse_object_prompt(text: str) -> tuple[str, str]:
    """`OBJECT=TEXT`: an object's name and what it shows.

    Raises:
        ConfigError: it is not of that form.
    """
    name, equals, prompt = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f'--prompt-for {text!r}: expected OBJECT=TEXT, for instance Fox="a bronze fox"')
    return name.strip(), prompt.strip()


def _with_keyframes(method: MethodConfig, preset: RunConfig) -> MethodConfig:
    """A method with as many keyframes as the preset takes."""
    n_keyframes = preset.method.injection.n_keyframes
    return replace(method, injection=replace(method.injection, n_keyframes=n_keyframes))


def _override(method: MethodConfig, options: Render) -> MethodConfig:
    injection = method.injection
    return replace(
        method,
        noise=replace(method.noise, mode=options.noise or method.noise.mode),
        correspondence=replace(method.correspondence, engine=options.engine or method.correspondence.engine),
        injection=replace(
            injection,
            alpha=injection.alpha if options.alpha is None else options.alpha,
            unify=options.unify or injection.unify,
            n_keyframes=injection.n_keyframes if options.keyframes is None else options.keyframes,
        ),
    )


def _size(options: Render, scene: Scene, model: PictureSize) -> tuple[int, int]:
    if options.size is None and model.native is None:
        raise ConfigError("the model does not tell the size of its pictures; give --size, for example 512")
    native, factor = model.native or (0, 0), model.vae_factor
    width, height = picture_size(options.size, scene, options.camera, native, factor)
    if width % factor or height % factor:
        near = "x".join(str(max(1, round(side / factor)) * factor) for side in (width, height))
        raise ConfigError(
            f"size is {width}x{height}, expected multiples of {factor}, the model's VAE factor, "
            f"for instance {near}"
        )
    return width, height


def _run_folder(options: Render) -> RunFolder:
    path = options.run_dir
    if path is None:
        name, n = f"{scene_label(options.scene)}-{timestamp()}", 1
        while (path := Path("runs") / (name if n == 1 else f"{name}-{n}")).exists():
            n += 1
    folder = RunFolder(path)
    folder.check_can_be_filled()
    return folder


def timestamp() -> str:
    return datetime.datetime.now().strftime("%Y%m%d-%H%M%S")


def _check_out(out: Path | None, folder: RunFolder) -> None:
    """Raises MediaError unless the video can be written to its place."""
    if out is None or out.resolve() == folder.video_file.resolve():
        return
    if out.suffix.lower() != ".mp4":
        raise MediaError(f"cannot write {out}: expected the name of an MP4 file, for instance {out.stem}.mp4")
    if out.is_dir():
        raise MediaError(f"cannot write {out}: it is a folder; give the name of a file")
    if out.parent.resolve() != folder.path.resolve():
        check_writable(out.parent)


def _check_disk(shot: Shot | ExrShot, folder: RunFolder) -> None:
    """Raises MediaError unless the run's files will fit; those of an earlier attempt are made use of."""
    there = bytes_on_disk(folder.unfinished_dir.glob("*"))
    check_disk(RUN_BYTES * shot.width * shot.height * shot.n_frames - there, folder.path)


def _check_lent(path: Path, config: RunConfig, source: ModelSource, shot: Shot | ExrShot) -> None:
    """Raises ConfigError or MediaError unless a run's appearance can be taken over."""
    theirs = RunFolder(path).read_record()
    if not (path / APPEARANCE_FILE).is_file():
        raise MediaError(f"{path} keeps no appearance: there is no {APPEARANCE_FILE} in it; render it again")
    config.method.check_can_carry_appearance()
    made, origin = theirs.making, theirs.making.origin
    for name, found, ours in (
        ("weights", None if origin is None else origin.weights, weights_digest(source)),
        ("sampler", made.settings.sampler, config.sampler),
        ("n_steps", made.settings.n_steps, config.n_steps),
        ("width", made.shot.width, shot.width),
        ("height", made.shot.height, shot.height),
    ):
        if found != ours:
            raise ConfigError(
                f"the run {path} is of other {name} ({found}, here {ours}): make both runs alike in model, "
                "preset, steps and size"
            )
    # What EXR files show is known when they have been read.
    if isinstance(shot, Shot):
        note_partners(path, made.shot.atlas_ids, atlas_ids_by_name(shot.scene))


def note_partners(path: Path, theirs: Collection[str], ours: Collection[str]) -> None:
    """Names the objects of a shot that the run at `path` has no look for.

    Raises:
        ConfigError: it has one for none of them.
    """
    known = partners(ours, theirs)
    lacking = [name for name in ours if name not in known]
    if len(lacking) == len(ours):
        raise ConfigError(
            f"no object of this shot is called as one of the run {path}: here {listed(ours)}; there "
            f"{listed(theirs)}; name them alike, for instance with --merge"
        )
    if lacking:
        note(
            f"no look is taken over by what the run {path} has no object of that name for: {listed(lacking)}"
        )


def _warn_of_unknown_words(config: RunConfig, source: ModelSource) -> None:
    vocabulary = read_vocabulary(source.location)
    if vocabulary is None:
        return
    texts = (config.prompt, config.negative_prompt or "", *(text for _, text in config.object_prompts))
    unknown = unknown_words(" ".join(texts), vocabulary)
    if unknown:
        nearest = {word: nearest_word(word, vocabulary) for word in unknown}
        words = (f"{word} (try {known})" if known else word for word, known in nearest.items())
        warn(f"the model does not know these words of the prompt: {', '.join(words)}")

// A job type of Flamenco 3: a long clip's keyframes, then ranges of its frames in any order, then one video.
// Copy it to the Manager's folder "scripts", and name the program once in flamenco-manager.yaml:
//
//   variables:
//     genrender:
//       values:
//         - platform: linux
//           value: /opt/genrender/bin/genrender
//
// See docs/farm.md.

const JOB_TYPE = {
    label: "genrender",
    description: "An animated scene and a sentence in, a video out",
    settings: [
        { key: "scene", type: "string", subtype: "file_path", required: true, visible: "submission",
          description: "glTF, USD, Alembic, OBJ, PLY or EXR files, on storage that all Workers see" },
        { key: "prompt", type: "string", required: true, visible: "submission",
          description: "What the video shows" },
        { key: "frames", type: "int32", required: true, default: 24, propargs: { min: 1 }, visible: "submission",
          eval: "C.scene.frame_end - C.scene.frame_start + 1", description: "Frames of the clip" },
        { key: "chunk_size", type: "int32", default: 96, propargs: { min: 1 }, visible: "submission",
          description: "Frames of a task; a multiple of 8 wastes least" },
        { key: "output_folder", type: "string", subtype: "dir_path", required: true, visible: "submission",
          description: "Gets the runs and video.mp4" },
        { key: "options", type: "string", default: "", visible: "submission",
          description: "More options of genrender render, such as --preset fast --size 512 --camera orbit" },
    ],
};

function compileJob(job) {
    const settings = job.settings;
    const folder = path.join(settings.output_folder, job.name);
    const keyframesFolder = path.join(folder, "keyframes");
    const whole = [settings.scene, `--prompt=${settings.prompt}`, `--frames=${settings.frames}`]
        .concat(shellSplit(settings.options || ""));

    const keyframes = renderTask("keyframes", whole.concat(["--only=keyframes", `--run-dir=${keyframesFolder}`]));
    job.addTask(keyframes);

    const join = author.Task("join", "misc");
    for (let first = 0; first < settings.frames; first += settings.chunk_size) {
        const last = Math.min(first + settings.chunk_size, settings.frames) - 1;
        const part = renderTask(`frames-${first}-${last}`, whole.concat([
            `--only=${first}-${last}`,
            `--keyframes-from=${keyframesFolder}`,
            `--run-dir=${path.join(folder, "parts", `${first}-${last}`)}`,
        ]));
        part.addDependency(keyframes);
        join.addDependency(part);
        job.addTask(part);
    }
    join.addCommand(genrender(["join", path.join(folder, "parts"), `--out=${path.join(folder, "video.mp4")}`]));
    job.addTask(join);
}

// The same command for every attempt: --resume goes on where an earlier one was stopped.
function renderTask(name, args) {
    const task = author.Task(name, "misc");
    task.addCommand(genrender(["render"].concat(args, ["--resume", "--progress=percent"])));
    return task;
}

function genrender(args) {
    return author.Command("exec", { exe: "{genrender}", args: args });
}

// What Flamenco's Manager gives a job type script, as far as its manual describes it: the script runs in it, and what
// it has made is printed as JSON. node flamenco_api.mjs SCRIPT.js JOB.json

import { readFileSync } from "node:fs";
import { posix } from "node:path";
import vm from "node:vm";

const [script, jobText] = process.argv.slice(2);

class Task {
  constructor(name, type) {
    if (!name.trim() || !type.trim()) throw new Error("a task needs a name and a type");
    Object.assign(this, { name, type, commands: [], dependencies: [] });
  }
  addCommand(command) {
    this.commands.push(command);
  }
  addDependency(task) {
    if (!(task instanceof Task)) throw new Error("only a task can be waited for");
    this.dependencies.push(task);
  }
}

const job = { ...JSON.parse(jobText), tasks: [], addTask: (task) => job.tasks.push(task) };
const shellSplit = (text) => text.split(/\s+/).filter(Boolean);
const given = {
  author: {
    Task: (name, type) => new Task(name, type),
    Command: (name, parameters) => ({ name, parameters }),
  },
  path: { join: posix.join, basename: posix.basename, dirname: posix.dirname, stem: (name) => posix.parse(name).name },
  shellSplit,
  print: () => {},
  job,
};
vm.runInNewContext(`${readFileSync(script, "utf8")}\ncompileJob(job); job.type = JOB_TYPE;`, given);
const told = job.tasks.map((task) => ({ ...task, dependencies: task.dependencies.map((other) => other.name) }));
console.log(JSON.stringify({ type: job.type, tasks: told }));

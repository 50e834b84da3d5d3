"""Everything that goes wrong, many times over; what was tried is kept, and the same command goes on.

    python benchmarks/reliability.py files --tries 100000 --folder reliability
    python benchmarks/reliability.py commands kills folders disks pairs --folder reliability
    python benchmarks/reliability.py soak --seconds 7200 --folder reliability
    python benchmarks/reliability.py --folder reliability

Parts: `files` (`fuzz_scenes.py`: damaged files of all kinds), `commands` (`fuzz_commands.py`: absurd command
lines and records), `kills`, `folders`, `disks` and `pairs` (`accidents.py`: commands that are killed, run
folders that are damaged, disks that are full, two processes on one folder) and `soak` (`page_load.py`: a
server for hours). Every batch of tries adds a line to `results.jsonl` in the folder. Without a part it tells
what stands there.
"""

import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from shared import new_parser

HERE = Path(__file__).resolve().parent
# Tries of one process that is asked for, and the words that ask for them.
PARTS = {
    "files": (10500, ("fuzz_scenes.py", "--small", "--mutations", "{n}", "--seed", "{seed}", "--json")),
    "commands": (500, ("fuzz_commands.py", "--tries", "{n}", "--seed", "{seed}", "--json")),
    "kills": (27, ("accidents.py", "kills", "--tries", "{n}", "--seed", "{seed}", "--json")),
    "folders": (50, ("accidents.py", "folders", "--tries", "{n}", "--seed", "{seed}", "--json")),
    "disks": (25, ("accidents.py", "disks", "--tries", "{n}", "--seed", "{seed}", "--json")),
    "pairs": (20, ("accidents.py", "pairs", "--tries", "{n}", "--seed", "{seed}", "--json")),
    "soak": (1, ("page_load.py", "--soak", "{seconds}")),
}


def main() -> None:
    parser = new_parser(__doc__, has_json=False)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which, one after the other")
    parser.add_argument("--tries", type=int, help="of each part, those of earlier calls included")
    parser.add_argument("--minutes", type=float, default=600.0, help="no batch begins after this time")
    parser.add_argument("--seconds", type=float, default=7200.0, help="of soak")
    parser.add_argument("--folder", type=Path, default=Path("reliability"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    results = args.folder / "results.jsonl"
    until_s = time.monotonic() + 60 * args.minutes
    for part in args.parts:
        n, words = PARTS[part]
        tries = args.tries or n
        while (done := _tried(results, part)) < tries and time.monotonic() < until_s:
            n_now = min(n, tries - done)
            seed = sum(line["asked"] for line in _lines(results) if line["part"] == part)
            asked = [word.format(n=n_now, seed=seed, seconds=args.seconds) for word in words]
            run = subprocess.run(
                [sys.executable, str(HERE / asked[0]), *asked[1:]],
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            if run.returncode not in (0, 1) or not run.stdout.strip():
                raise SystemExit(f"{' '.join(asked)} ended with {run.returncode}")
            line = {"part": part, "asked": n_now, "seed": seed, **json.loads(run.stdout)}
            with results.open("a") as out:
                out.write(json.dumps(line) + "\n")
    _tell(results)


def _lines(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _tried(results: Path, part: str) -> int:
    """How often a part has been tried. Seeds are counted otherwise: one may be tried with several files."""
    lines = [line for line in _lines(results) if line["part"] == part]
    return sum(sum(kinds.values()) for line in lines for kinds in line.get("counts", {"": {"": 1}}).values())


def _tell(results: Path) -> None:
    """Prints a table of outcomes for each part, and what failed."""
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    most: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    failures = [(line["part"], text) for line in _lines(results) for text in line.get("failures", ())]
    soaks = [line for line in _lines(results) if line["part"] == "soak"]
    for line in _lines(results):
        for kind, found in line.get("counts", {}).items():
            counts[line["part"]][kind].update(found)
        most[line["part"]] = (
            max(most[line["part"]][0], line.get("slowest_s", 0.0)),
            max(most[line["part"]][1], line.get("peak_mb", 0.0)),
        )
    for part, kinds in counts.items():
        slowest_s, peak_mb = most[part]
        n = sum(sum(found.values()) for found in kinds.values())
        print(f"{part}: {n} tries, at most {slowest_s:.1f} s and {peak_mb:.0f} MB")
        for kind, found in sorted(kinds.items()):
            told = ", ".join(f"{number} {what}" for what, number in found.most_common())
            print(f"    {kind}: {sum(found.values())}: {told}")
    for line in soaks:
        most_mb = max(sample["server_mb"] for sample in line["soak_samples"])
        print(
            f"soak: {line['soak_s']:.0f} s, {line['soak_answers']['answers']} answers, "
            f"{line['soak_finished']} of {line['soak_jobs']} jobs, the server took at most {most_mb:.0f} MB"
        )
        failures += [("soak", text) for text in line["soak_answers"]["failures"]]
    for part, text in failures:
        print(f"FAILED {part}: {text}")
    if not counts and not soaks:
        print(f"nothing has been tried yet: {results}")


if __name__ == "__main__":
    main()

"""kvae beside its peers: training, likelihood, encoding and sampling, interleaved in one run.

    python benchmarks/speed/speed.py  # everything: about an hour, and the installations
    python benchmarks/speed/speed.py --jobs train/conv/128 --peers tensorflow --rounds 30

Every peer is a program of its own (`peers/`) in an environment of its own, which is made from the peer's .txt where it
is missing (`.environments/`). All prepare a job, then take turns in random order, one run each a round; a run of
training is one epoch or a few, for kvae one `fit` on the array. What is printed are medians with quartiles, and the
median of kvae's ratio to the peer over the rounds. The tables of a run of everything go to docs/performance.md and
their picture to docs/images/performance.png, unless --keep.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
import venv
from random import Random

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))

from common import Job

PEERS = ("kvae", "tensorflow", "jax", "pytorch", "pythae", "keras_io")
JOBS = {
    "train/mlp/128": Job("train", "mlp", 128, 20_000, epochs=3),
    "train/mlp/32": Job("train", "mlp", 32, 5_000, epochs=3),
    "train/mlp/512": Job("train", "mlp", 512, 20_000, epochs=3),
    "train/conv/128": Job("train", "conv", 128, 5_120),
    "train/conv/32": Job("train", "conv", 32, 1_280, epochs=2),
    "train/conv/512": Job("train", "conv", 512, 2_560, epochs=2),
    "train/resnet/128": Job("train", "resnet", 128, 1_280),
    "train/deep/20": Job("train", "deep", 20, 1_000, samples=50, epochs=2),
    "likelihood/mlp": Job("likelihood", "mlp", 1, 40, samples=5_000),
    "encode/mlp": Job("encode", "mlp", 1, 20_000),
    "encode/conv": Job("encode", "conv", 1, 10_000),
    "encode/resnet": Job("encode", "resnet", 1, 4_000),
    "sample/mlp": Job("sample", "mlp", 1, 20_000),
    "sample/conv": Job("sample", "conv", 1, 4_000),
    "sample/resnet": Job("sample", "resnet", 1, 2_000),
}
UNITS = {"train": "images/s, trained", "likelihood": "images/s, scored", "encode": "images/s", "sample": "images/s"}


class Worker:
    """A peer's process."""

    def __init__(self, peer: str):
        python = environment(peer)
        program = [str(python), str(HERE / "peers" / f"{peer}_peer.py")]
        self.process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, **command):
        """Send a command and wait for its answer."""
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{' '.join(self.process.args)} ended at {command}; run it by hand to see why.")
        return json.loads(answer)

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def environment(peer: str) -> pathlib.Path:
    """The Python of a peer's environment, installed if it is missing."""
    folder = HERE / ".environments" / peer
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"Installing {peer} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        what = ["-e", str(HERE.parents[1])] if peer == "kvae" else ["-r", str(HERE / "peers" / f"{peer}_peer.txt")]
        subprocess.run([python, "-m", "pip", "install", "-q", *what], check=True)
        (folder / "ready").touch()
    return python


def versions() -> str:
    """What is installed in the environments, and the machine."""
    listing = (
        "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"
    )
    found: dict[str, str] = {}
    for peer in PEERS:
        installed = dict(json.loads(subprocess.check_output([environment(peer), "-c", listing], text=True)))
        names = ("tensorflow", "keras", "tensorflow-probability", "jax", "optax", "torch", "pythae", "numpy")
        found |= {name: installed[name] for name in names if name in installed and name not in found}
    processor = platform.processor() or platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.split(":")[1].strip()
    libraries = ", ".join(f"{name} {version}" for name, version in found.items())
    return f"Python {platform.python_version()}, {libraries}; {processor}, {len(os.sched_getaffinity(0))} cores."


def measure(workers: list[Worker], job: Job, rounds: int) -> dict[str, list[float]]:
    """Seconds of every round of every program that some peer has for the job."""
    programs = {}
    for worker in workers:
        for name in worker.ask(start=job._asdict())["names"]:
            worker.ask(run=name)  # compiles
            programs[name] = worker
    for name in programs:
        if name.startswith("kvae"):  # learns how long a step takes
            programs[name].ask(run=name)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    values = {}
    order = list(programs)
    random = Random(0)
    for _ in range(rounds):
        random.shuffle(order)  # or one program would always follow the same other, whose threads may still spin
        for name in order:
            time.sleep(0.2)
            answer = programs[name].ask(run=name)
            seconds[name].append(answer["seconds"])
            values[name] = answer["value"]
    print("   ", ", ".join(f"{name}: {value:.2f}" for name, value in values.items()))
    return seconds


def table(label: str, job: Job, seconds: dict[str, list[float]]) -> str:
    """The results of one job as a Markdown table."""
    lines = [
        f"| {label} | {UNITS[job.task]}, median (quartiles) | kvae over it, median (quartiles) |",
        "|---|---:|---:|",
    ]
    for name, times in sorted(seconds.items(), key=lambda item: statistics.median(item[1])):
        work = job.images // job.batch * job.batch * job.epochs
        low, _, high = statistics.quantiles([work / t for t in times], n=4)
        ratios = [theirs / ours for theirs, ours in zip(times, seconds["kvae"], strict=True)]
        few, _, many = statistics.quantiles(ratios, n=4)
        rate = f"{work / statistics.median(times):,.0f} ({low:,.0f} to {high:,.0f})"
        ratio = "" if name == "kvae" else f"{statistics.median(ratios):.2f} ({few:.2f} to {many:.2f})"
        lines.append(f"| {f'**{name}**' if name == 'kvae' else name} | {rate} | {ratio} |")
    return "\n".join(lines)


def picture(results: dict, path: pathlib.Path) -> None:
    """Rates over kvae's, a panel for each job."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = -(-len(results) // 3)
    figure, axes = pyplot.subplots(rows, 3, figsize=(15, 3.2 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(results) :]:
        axis.set_visible(False)
    for axis, (label, seconds) in zip(axes.flat, results.items(), strict=False):
        ours = statistics.median(seconds["kvae"])
        rates = sorted((ours / statistics.median(times), name) for name, times in seconds.items())
        colours = ["tab:orange" if name == "kvae" else "tab:blue" for _, name in rates]
        axis.barh([name for _, name in rates], [rate for rate, _ in rates], color=colours)
        axis.axvline(1.0, color="black", linewidth=0.8)
        axis.set_title(label)
        axis.set_xlabel("speed, kvae = 1")
    figure.savefig(path, dpi=70)


def replace_section(path: pathlib.Path, name: str, text: str) -> None:
    """Put a text between the two comments of that name in a Markdown file."""
    before, rest = path.read_text().split(f"<!-- {name} -->\n")
    _, after = rest.split(f"<!-- end of {name} -->")
    path.write_text(f"{before}<!-- {name} -->\n{text}\n<!-- end of {name} -->{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--peers", nargs="*", default=list(PEERS[1:]), choices=PEERS[1:], help="those beside kvae")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--keep", action="store_true", help="leave docs/ as it is")
    options = parser.parse_args()
    results, tables = {}, []
    peers = ["kvae", *options.peers]
    for peer in peers:
        environment(peer)
    workers = [Worker(peer) for peer in peers]
    for label in options.jobs:
        print(label, flush=True)
        results[label] = measure(workers, JOBS[label], options.rounds)
        tables.append(table(label, JOBS[label], results[label]))
        print(tables[-1], flush=True)
    for worker in workers:
        worker.close()
    if set(peers) == set(PEERS) and set(options.jobs) == set(JOBS) and not options.keep:
        docs = HERE.parents[1] / "docs"
        picture(results, docs / "images" / "performance.png")
        replace_section(docs / "performance.md", "peers", "\n\n".join([versions(), *tables]))


if __name__ == "__main__":
    main()

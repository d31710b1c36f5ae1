"""Call everything public with hostile values, and say what comes out.

    python benchmarks/faults/fuzz.py --calls 5000 --seed 0  # some ten minutes on two free cores

Each target, found in the exports of kvae, has one good call (`fuzz_calls.py`). One or two of its arguments get values
that hypothesis draws (`fuzz_values.py`). The calls are a function of the seed. A worker makes them one after the other;
where it dies or does not answer, another goes on behind that call. `fuzz_outcomes.py` says what each comes
to.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(pathlib.Path(__file__).resolve().parent)]

import fuzz_arguments
import fuzz_calls
import fuzz_outcomes
import fuzz_values
import fuzz_world
import hypothesis
import tensorflow as tf
from hypothesis import strategies as st

MEMORY = 24 << 30  # bytes of address space for a worker, so that a huge size cannot stop the machine


# ---- the calls ----


def plans(calls: int, seed: int, world=None) -> list[tuple[str, dict[str, tuple[str, str]]]]:
    """Some calls: of each target the same number, with the arguments that are not good, their kinds and their texts."""
    targets = (world or fuzz_world.World()).targets()
    found = []

    def draw(name, target, count, number):
        near = {
            argument: fuzz_values.values(fuzz_arguments.category(argument, parameter.default))
            for argument, parameter in target.arguments.items()
        }
        size = st.sampled_from([1, 1, min(2, len(near))])
        chosen = size.flatmap(lambda n: st.lists(st.sampled_from(sorted(near)), min_size=n, max_size=n, unique=True))
        changes = chosen.flatmap(lambda some: st.fixed_dictionaries({argument: near[argument] for argument in some}))

        @hypothesis.seed(seed * 1000003 + number)
        @hypothesis.settings(
            max_examples=count + 1, database=None, deadline=None, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(changes)
        def note(changed):
            drawn.append((name, changed))

        drawn: list = []
        note()
        found.extend(drawn[1:] or drawn)  # the first is always the simplest

    names = sorted(targets)
    for number, name in enumerate(names):
        count = calls * (number + 1) // len(names) - calls * number // len(names)
        if count:
            draw(name, targets[name], count, number)
    return found


# ---- the worker, and who watches it ----


def work(plan_file: str, result_file: str, first: int) -> None:
    """Make the calls from number `first` on, and write down what comes out of each."""
    import resource

    import matplotlib

    matplotlib.use("Agg")
    tf.get_logger().setLevel("ERROR")
    signal.signal(signal.SIGALRM, fuzz_outcomes.late)
    planned = json.loads(pathlib.Path(plan_file).read_text())
    world = fuzz_world.World()
    targets = world.targets()
    with tempfile.TemporaryDirectory() as folder, open(result_file, "a") as results:
        template, place = pathlib.Path(folder, "template"), pathlib.Path(folder, "place")
        template.mkdir()
        world.files(template)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for number in range(first, len(planned)):
            name, _ = planned[number]
            print(json.dumps({"begun": number}), file=results, flush=True)
            started = time.monotonic()
            if place.exists():
                os.chdir(folder)
                shutil.rmtree(place)
            shutil.copytree(template, place)
            os.chdir(place)
            found, message = fuzz_outcomes.outcome(world, targets, planned[number])
            if any(f".{one}" in name for one in fuzz_calls.CHANGING) or name.startswith("callbacks."):
                try:
                    world.mend(name)
                except Exception:
                    world.build()
                    targets = world.targets()
            seconds = time.monotonic() - started
            record = {"number": number, "outcome": found, "message": message, "seconds": round(seconds, 3)}
            print(json.dumps(record), file=results, flush=True)
        os.chdir(folder)


def run(calls: int, seed: int) -> list[dict]:
    """Make the calls; a record of each: target, changes, outcome, message, seconds."""
    planned = plans(calls, seed)
    with tempfile.TemporaryDirectory() as folder:
        plan_file, result_file = pathlib.Path(folder, "plans.json"), pathlib.Path(folder, "results")
        plan_file.write_text(json.dumps(planned))
        result_file.touch()
        records: dict[int, dict] = {}
        while len(records) < len(planned):
            command = [sys.executable, __file__, "--worker", str(plan_file), str(result_file), str(len(records))]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                stopped = _watch(process, result_file)
            lines = [json.loads(line) for line in result_file.read_text().splitlines()]
            records |= {line["number"]: line for line in lines if "number" in line}
            if len(records) < len(planned):
                if not lines or lines[-1].get("begun") != len(records):
                    raise RuntimeError("The worker of benchmarks/faults/fuzz.py does not start.")
                number = len(records)
                records[number] = {"number": number, "outcome": stopped, "message": "", "seconds": 0.0}
    return [{"target": name, "changes": changes} | records[number] for number, (name, changes) in enumerate(planned)]


def _watch(process: subprocess.Popen, result_file: pathlib.Path) -> str:
    """Wait for the worker, and kill it where it writes nothing for long: "hang" then, else "crash"."""
    size, since = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(0.1)
        now = result_file.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        if time.monotonic() - since > 3 * fuzz_outcomes.LIMIT + 60:
            process.kill()
            return "hang"
    return "crash"


def main(arguments):
    from absl import flags

    del arguments
    started = time.time()
    records = run(flags.FLAGS.calls, flags.FLAGS.seed)
    print(fuzz_outcomes.table(records), "\n")
    print("\n".join(fuzz_outcomes.failures(records)))
    if flags.FLAGS.output:
        pathlib.Path(flags.FLAGS.output).write_text("\n".join(map(json.dumps, records)))
    others = sum(record["outcome"] in ("theirs", "bare") for record in records)
    worse = sum(record["outcome"] not in ("right", "ours", "theirs", "bare") for record in records)
    share = others / len(records)
    print(f"\n{len(records)} calls, {time.time() - started:.0f} s; in other words than kvae's: {share:.1%}.")
    sys.exit(worse > 0 or others > 0.01 * len(records))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        from absl import app, flags

        flags.DEFINE_integer("calls", 5000, "How many calls, shared among all targets.")
        flags.DEFINE_integer("seed", 0, "Of the values.")
        flags.DEFINE_string("output", "", "A file for the records, one line of JSON each.")
        app.run(main)

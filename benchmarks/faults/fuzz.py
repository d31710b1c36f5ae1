"""Call everything public with hostile values, and say what comes out.

    python benchmarks/faults/fuzz.py --calls 5000 --seed 0  # some ten minutes on two free cores

Each target, found in the exports of kvae, has one good call (`fuzz_calls.py`). One or two of its arguments get values
that hypothesis draws (`fuzz_values.py`). The calls are a function of the seed. A worker makes them one after the other;
where it dies or does not answer, another goes on behind that call. The outcomes:

    right           accepted, and all that comes out is finite (NaN only where it is documented)
    ours            an error that kvae raises itself
    theirs          an error of Keras, TensorFlow, NumPy or another library
    bare            an error of Python inside kvae, such as "'int' object is not iterable"
    not finite      accepted, and NaN or infinity comes out
    taken wrongly   accepted, although it is certainly no value of its argument, such as text for a number
    hang, crash     no answer in time; the process died
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import collections
import contextlib
import io
import json
import linecache
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(pathlib.Path(__file__).resolve().parent)]

OUTCOMES = ("right", "ours", "theirs", "bare", "not finite", "taken wrongly", "hang", "crash")
LIMIT = 60  # seconds for a call
MEMORY = 24 << 30  # bytes of address space for a worker, so that a huge size cannot stop the machine


# ---- the calls ----


def plans(calls: int, seed: int, world=None) -> list[tuple[str, dict[str, tuple[str, str]]]]:
    """Some calls: of each target the same number, with the arguments that are not good, their kinds and their texts."""
    import fuzz_calls
    import fuzz_values
    import hypothesis
    from hypothesis import strategies as st

    targets = (world or fuzz_calls.World()).targets()
    found = []

    def draw(name, target, count, number):
        near = {
            argument: fuzz_values.values(fuzz_calls.category(argument, parameter.default))
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


# ---- one call ----


class Hang(BaseException):
    """The time is up."""


def _late(*_):
    raise Hang


def outcome(world, targets, plan) -> tuple[str, str]:
    """What comes out of a call, and the message of its error."""
    import fuzz_calls

    name, changes = plan
    target = targets[name]
    texts = target.good | {argument: text for argument, (_, text) in changes.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = {argument: eval(text, dict(world.names)) for argument, text in texts.items()}
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            result = target.function(**arguments)
            used = [result] if target.use is None else [result, target.use(result)]
            bad = "" if name.startswith("data.") else not_finite(used)  # data are checked where a model uses them
    except Hang:
        return "hang", ""
    except BaseException as error:
        return _raised(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if bad:
        return "not finite", bad
    parameters = target.arguments
    for argument, (kind, text) in changes.items():
        if fuzz_calls.must_be_refused(name, argument, parameters[argument], kind, text):
            return "taken wrongly", f"{argument}: {kind}"
    return "right", ""


OURS = (ValueError, TypeError, FileNotFoundError, FileExistsError, RuntimeError, ImportError, FloatingPointError)


def _raised(error: BaseException) -> tuple[str, str]:
    """Whose error it is: by the innermost frame, and by whether it was raised there or happened."""
    import fuzz_calls

    if fuzz_calls.OWN in str(error):
        return "right", ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
    message = f"{type(error).__name__}: {' '.join(str(error).split())[:150]} ({pathlib.Path(file).name}:{line})"
    if not file.startswith(str(ROOT / "kvae")):
        return "theirs", message
    raised = linecache.getline(file, line).lstrip().startswith("raise")
    said = raised and isinstance(error, OURS) and len(str(error).split()) >= 4
    return ("ours" if said else "bare"), message


# What may be NaN, as the docstrings say.
_DOCUMENTED = {
    "Estimate": {"standard_error", "monte_carlo_error"},
    "LogLikelihoods": {"standard_error"},
    "CalibrationByElement": {"mean_square", "standard_error", "within_one", "within_two"},
}


def not_finite(value, where: str = "result") -> str:
    """The place of the first NaN or infinity in what was returned; empty where there is none."""
    import keras
    import numpy as np
    import tensorflow as tf
    from tensorflow_probability import distributions as tfd

    import kvae

    if isinstance(value, (str, bytes, type(None), bool, pathlib.Path, type)) or callable(
        getattr(value, "savefig", None)
    ):
        if hasattr(value, "savefig"):
            value.savefig(io.BytesIO(), dpi=20)
        return ""
    if hasattr(value, "_fields") and not isinstance(value, kvae.data.Support):
        may = _DOCUMENTED.get(type(value).__name__, set())
        value = {name: one for name, one in value._asdict().items() if name not in may}
    if isinstance(value, dict):
        return next((bad for name, one in value.items() if (bad := not_finite(one, f"{where}.{name}"))), "")
    if isinstance(value, (list, tuple)):
        return next((bad for one in value if (bad := not_finite(one, where))), "")
    if isinstance(value, keras.callbacks.History):
        return not_finite(value.history, where) or not_finite(value.model.get_weights(), "weights")
    if isinstance(value, keras.callbacks.Callback):
        return ""
    if isinstance(value, tfd.Distribution):
        return not_finite(value.mean(), f"{where}.mean")
    if isinstance(value, kvae.data.Split):
        return ""  # it holds what it was given; what uses it checks that
    if isinstance(value, kvae.data.Support):
        return ""
    if isinstance(value, tf.data.Dataset):
        return not_finite(list(value.take(1).as_numpy_iterator()), where)
    if isinstance(value, kvae.evaluate.Gaussian):
        return not_finite([value.mean, value.covariance], where)
    if isinstance(value, (int, float, np.generic, np.ndarray)) or tf.is_tensor(value):
        array = np.asarray(value)
        return "" if array.dtype.kind not in "fc" or np.isfinite(array).all() else where
    return ""


# ---- the worker, and who watches it ----


def work(plan_file: str, result_file: str, first: int) -> None:
    """Make the calls from number `first` on, and write down what comes out of each."""
    import resource

    import fuzz_calls
    import matplotlib
    import tensorflow as tf

    matplotlib.use("Agg")
    tf.get_logger().setLevel("ERROR")
    signal.signal(signal.SIGALRM, _late)
    planned = json.loads(pathlib.Path(plan_file).read_text())
    world = fuzz_calls.World()
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
            found, message = outcome(world, targets, planned[number])
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
        if time.monotonic() - since > 3 * LIMIT + 60:
            process.kill()
            return "hang"
    return "crash"


# ---- what is printed ----


def table(records: list[dict]) -> str:
    """Counts of the outcomes by group of targets and in total, as Markdown."""
    groups: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for record in records:
        for group in (record["target"].split(".")[0], "all"):
            groups[group][record["outcome"]] += 1
    rows = ["| | calls | " + " | ".join(OUTCOMES) + " |", "|---" * (len(OUTCOMES) + 2) + "|"]
    order = [*sorted(group for group in groups if group != "all"), "all"]
    for group in order:
        counts = [sum(groups[group].values()), *(groups[group][one] for one in OUTCOMES)]
        rows.append(f"| {group} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(rows)


def failures(records: list[dict]) -> list[str]:
    """The distinct calls that came to something else than "right" or "ours", one line each."""
    found: dict[tuple, str] = {}
    for record in records:
        if record["outcome"] in ("right", "ours"):
            continue
        changes = ", ".join(f"{name}={text}" for name, (_, text) in record["changes"].items())
        key = (record["target"], record["outcome"], record["message"] or changes)
        found.setdefault(key, f"{record['outcome']}: {record['target']}({changes}): {record['message']}")
    return sorted(found.values())


def main(arguments):
    from absl import flags

    del arguments
    started = time.time()
    records = run(flags.FLAGS.calls, flags.FLAGS.seed)
    print(table(records), "\n")
    print("\n".join(failures(records)))
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

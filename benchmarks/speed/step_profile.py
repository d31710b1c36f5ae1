"""Where the time of a training step goes, by TensorFlow's profiler.

    python benchmarks/speed/step_profile.py  # MLP 784-400-20, batch 128: half a minute; writes docs/performance.md
    python benchmarks/speed/step_profile.py --keep     # prints only

An epoch of `fit` under XLA is recorded. Every operation that XLA runs is put in a class by the name of the TensorFlow
operation it came from; at every moment the running operations share the time equally, and what is left is dispatch and
waiting. The matrix products run on both cores, the rest mostly on one while the other computes something else.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import collections
import pathlib
import re
import sys
import tempfile

import tensorflow as tf

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

from common import Job
from kvae_peer import model
from speed import replace_section
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from kvae.data.preparation import Preparation
from kvae.training.loop import _program

CLASSES = (  # the first whose pattern is found in "instruction operation"
    ("matrix products", r"^MatMul|/MatMul"),
    ("optimizer", r"/adam|Adam"),
    ("data: gathering the batch", r"gather|GatherV2|convert_bitcast"),
    ("random numbers", r"[Bb]itwise|concatenate_fusion|[Pp]hilox"),
    ("copies of the loop's state", r"^copy"),
    ("likelihood, KL, activations, trackers", r"."),
)


def operations(text: str) -> dict[str, str]:
    """Instruction to TensorFlow operation, from XLA's text."""
    found = re.finditer(r"^\s*(?:ROOT )?%([\w.-]+) = .*$", text, re.M)
    return {m.group(1): next(iter(re.findall(r'op_name="([^"]*)"', m.group(0))), "") for m in found}


def record(vae, x, batch) -> list[tuple[float, float, str]]:
    """(begin, end, name) of every event of one fit, in microseconds."""
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        vae.fit(x, batch_size=batch, epochs=1, verbose=0)
        tf.profiler.experimental.stop()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    events = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                begin = line.timestamp_ns / 1e3 + event.offset_ps / 1e6
                events.append((begin, begin + event.duration_ps / 1e6, plane.event_metadata[event.metadata_id].name))
    return sorted(events)


def shares(events, names: dict[str, str]) -> tuple[collections.Counter, float]:
    """Microseconds by class, every moment shared by what runs in it, and the whole time of the compiled calls."""
    calls = [(a, b) for a, b, name in events if name == "CpuExecutable::ExecuteAsyncOnStream"]
    edges = []
    for begin, end, name in events:
        if name in names and not name.startswith("while"):
            kind = next(kind for kind, pattern in CLASSES if re.search(pattern, f"{name} {names[name]}"))
            edges += [(begin, 1, kind), (end, -1, kind)]
    time, running, before = collections.Counter(), collections.Counter(), 0.0
    for at, change, kind in sorted(edges):
        busy = running.total()
        for active, n in running.items():
            time[active] += (at - before) * n / busy if busy else 0.0
        running[kind] += change
        before = at
    return time, sum(b - a for a, b in calls)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave docs/ as it is")
    options = parser.parse_args()
    job = Job("train", "mlp", 128, 19_968)
    vae, x = model(job), job.data()
    for _ in range(2):
        vae.fit(x, batch_size=job.batch, epochs=1, verbose=0)
    (preparation,) = (key[0] for key in vae.programs.made if isinstance(key[0], Preparation))
    loop = tf.function(_program(vae, preparation, training=True, jit=True), jit_compile=True)  # as `fit` has it
    rows = tf.zeros([2, job.batch], tf.int32)
    arguments = {"x": tf.zeros([2, 784], tf.uint8)}, rows, *[tf.constant(0)] * 3
    text = loop.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    time, whole = shares(record(vae, x, job.batch), operations(text))
    time["dispatch and waiting"] = whole - time.total()
    steps = job.images // job.batch
    lines = ["| what | microseconds a step | share |", "|---|---:|---:|"]
    lines += [f"| {kind} | {t / steps:,.0f} | {t / whole:.1%} |" for kind, t in time.most_common()]
    lines.append(f"| a step | {whole / steps:,.0f} | 100.0% |")
    print("\n".join(lines))
    if not options.keep:
        replace_section(HERE.parents[1] / "docs" / "performance.md", "profile", "\n".join(lines))


if __name__ == "__main__":
    main()

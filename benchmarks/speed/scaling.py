"""Several workers: how much of their speed is left, measured on this machine and predicted for others.

    python benchmarks/speed/scaling.py              # a minute or two on two quiet cores
    python benchmarks/speed/scaling.py --predict    # the predictions alone

The measurement takes turns: one worker on one core; two at once that know nothing of each other, whose loss is the
machine's; and two workers of one job by TF_CONFIG. Weak scaling keeps the batch of each worker, strong scaling that of
all together. Each worker has a core and TensorFlow one thread. The last column compares the processor's time of a step,
which other programs on the machine change less.

The prediction is a model of a step. With n workers it takes

    t(n) = c(b) + reductions * (2 (n - 1) latency + 2 (n - 1) / n * bytes / bandwidth)

c(b) = overhead + b * 6 * multiply-adds / speed is the work for the b examples of a worker: forward, and twice as much
backward. bytes = 4 * trainable weights, for gradients are float32. A ring all-reduce has 2 (n - 1) rounds of
bytes / n each. There is one reduction, and a second one where the optimizer clips. Nothing overlaps here, so the
prediction is pessimistic. The efficiency of weak scaling is c(b) / t(n), that of strong scaling c(B) / (n t(n)) with
b = B / n.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

SHAPE = (28, 28, 1)
BATCH = 256
MODELS = {"mlp": (400,), "wide mlp": (1024, 1024)}  # hidden layers of the measurement


class Work(NamedTuple):
    """What a model asks for: trainable weights, and multiply-adds of one example in both networks."""

    weights: int
    multiply_adds: int


class Cluster(NamedTuple):
    """Assumptions on workers and what joins them: FLOP/s, seconds of a step without examples, bytes/s, seconds."""

    name: str
    workers: int
    speed: float
    overhead: float
    bandwidth: float
    latency: float


CLUSTERS = (
    Cluster("8 GPUs, NVLink", 8, 2e13, 5e-4, 200e9, 1e-5),
    Cluster("8 GPUs, PCIe", 8, 2e13, 5e-4, 12e9, 2e-5),
    Cluster("64 machines of one GPU, 100 Gbit/s", 64, 2e13, 5e-4, 12e9, 3e-5),
    Cluster("64 machines of one GPU, 10 Gbit/s", 64, 2e13, 5e-4, 1.2e9, 5e-5),
)


def computing(work: Work, cluster: Cluster, batch: float) -> float:
    """c(b), seconds."""
    return cluster.overhead + batch * 6.0 * work.multiply_adds / cluster.speed


def communicating(work: Work, cluster: Cluster, reductions: int = 1) -> float:
    """The all-reduces of a step, seconds."""
    n, size = cluster.workers, 4.0 * work.weights
    return reductions * (2 * (n - 1) * cluster.latency + 2 * (n - 1) / n * size / cluster.bandwidth)


def weak(work: Work, cluster: Cluster, batch: int, reductions: int = 1) -> float:
    """The efficiency with `batch` examples for each worker."""
    alone = computing(work, cluster, batch)
    return alone / (alone + communicating(work, cluster, reductions))


def strong(work: Work, cluster: Cluster, batch: int, reductions: int = 1) -> float:
    """The efficiency with `batch` examples for all together."""
    n = cluster.workers
    together = computing(work, cluster, batch / n) + communicating(work, cluster, reductions)
    return computing(work, cluster, batch) / (n * together)


def predictions(works: dict[str, Work], batch: int = BATCH) -> None:
    """Print the table: weak scaling with `batch` for each worker, strong scaling with 16 times as many in all."""
    print(f"\n| model | weights | cluster | communication, ms | weak, {batch} each | strong, {16 * batch} in all |")
    print("|---|---:|---|---:|---:|---:|")
    for name, work in works.items():
        for cluster in CLUSTERS:
            spent = 1e3 * communicating(work, cluster)
            shares = f"{weak(work, cluster, batch):.0%} | {strong(work, cluster, 16 * batch):.0%}"
            print(f"| {name} | {work.weights / 1e6:.2f} M | {cluster.name} | {spent:.2f} | {shares} |")


def made(name: str):
    """A model, compiled: of `MODELS`, or a convolutional one."""
    import keras

    import kvae

    keras.utils.set_random_seed(0)
    if name in MODELS:
        networks = kvae.networks.mlp(SHAPE, 20, hidden=MODELS[name])
    else:
        networks = kvae.networks.resnet((64, 64, 3), 128, filters=(64, 128, 256, 512))
    vae = kvae.VAE(*networks, likelihood="bernoulli" if name in MODELS else "normal")
    vae.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    return vae


def work_of(vae) -> Work:
    """What the model asks for."""
    from kvae.training.step_time import multiply_adds

    adds = multiply_adds(vae.encoder, vae.posterior) + multiply_adds(vae.decoder, vae.likelihood)
    return Work(sum(weight.shape.num_elements() for weight in vae.trainable_variables), adds)


def worker(core: int, steps: int, jobs: list[list]) -> None:
    """Train on one core: a pass for each line read, of that job (model, batch of all together).

    Prints the seconds of a step, and those of them that the processor worked.
    """
    os.sched_setaffinity(0, {core})
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    together = "TF_CONFIG" in os.environ
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if together else tf.distribute.get_strategy()
    x = (np.random.default_rng(0).random((steps * 2 * BATCH, *SHAPE)) < 0.3).astype(np.uint8)
    models = []
    for name, batch in jobs:
        with strategy.scope():
            models.append(made(name))
        models[-1].fit(x[: steps * batch], batch_size=batch, epochs=2, verbose=0)
    print("ready", flush=True)
    for line in sys.stdin:
        batch = jobs[int(line)][1]
        begun, worked = time.perf_counter(), time.process_time()
        models[int(line)].fit(x[: steps * batch], batch_size=batch, epochs=1, verbose=0)
        print(json.dumps([(time.perf_counter() - begun) / steps, (time.process_time() - worked) / steps]), flush=True)


def started(core: int, steps: int, jobs, **environment) -> subprocess.Popen:
    """A worker as a process."""
    command = [sys.executable, __file__, "--worker", str(core), "--steps", str(steps), "--jobs", json.dumps(jobs)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, **environment}, **pipes)


def passed(workers, job: int) -> list[float]:
    """A pass of these workers at the same time: the numbers of the slower one."""
    for one in workers:
        one.stdin.write(f"{job}\n")
        one.stdin.flush()
    return [max(each) for each in zip(*(json.loads(one.stdout.readline()) for one in workers), strict=True)]


def measure(turns: int, steps: int) -> None:
    """Print milliseconds of a step, and the efficiencies: medians over the turns of ratios within a turn."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    tasks = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in range(2)]
    alone = [[name, BATCH] for name in MODELS]
    job = [[name, batch] for name in MODELS for batch in (2 * BATCH, BATCH)]  # weak, strong
    independent = [started(core, steps, alone) for core in range(2)]
    together = [started(core, steps, job, TF_CONFIG=task) for core, task in enumerate(tasks)]
    try:
        for one in (*independent, *together):
            while one.stdout.readline().strip() != "ready":
                if one.poll() is not None:
                    raise RuntimeError("A worker ended with an error.")
        kinds = [(independent[:1], 1, 0), (independent, 1, 0), (together, 2, 0), (together, 2, 1)]
        found = [[[passed(workers, each * i + at) for workers, each, at in kinds] for i in range(len(MODELS))]
                 for _ in range(turns)]  # fmt: skip
    finally:
        for one in (*independent, *together):
            one.kill()
    print(f"\nMedians of {turns} turns of {steps} steps, batch {BATCH}, two cores, load {os.getloadavg()[0]:.1f}:\n")
    print("| hidden layers | one worker | two apart | two, weak | two, strong | weak | strong | processor, weak |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for i, name in enumerate(MODELS):
        rows = [turn[i] for turn in found]  # [kind][wall, processor]
        cells = [f"{1e3 * statistics.median(row[kind][0] for row in rows):.1f} ms" for kind in range(4)]
        for kind, parts in ((2, 1), (3, 2)):
            shares = [statistics.median(row[base][0] / (parts * row[kind][0]) for row in rows) for base in (0, 1)]
            cells.append(f"{shares[0]:.0%} ({shares[1]:.0%} of apart)")
        cells.append(f"{statistics.median(row[0][1] / row[2][1] for row in rows):.0%}")
        print(f"| {', '.join(map(str, MODELS[name]))} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predict", action="store_true")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        worker(options.worker, options.steps, options.jobs)
        return
    if not options.predict:
        measure(options.turns, options.steps)
    predictions({name: work_of(made(name)) for name in (*MODELS, "resnet, 64 x 64 x 3")})


if __name__ == "__main__":
    main()

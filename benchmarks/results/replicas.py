"""Loss curves on several replicas and workers beside those of one device, over seeds.

    python benchmarks/results/replicas.py --seeds 10

Digits, binarised anew in every pass, batches of 100, Adam, float32. Each seed has its own first weights, order, noise
and binarisation. Each number of replicas is a process of its own with as many logical processors; two workers are two
processes on the loopback. The table compares the mean over the seeds of the training loss with that of one device: the
largest difference over the epochs, in nats, and in standard errors of the difference of two means of independent runs;
and the largest difference at one seed.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import socket
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

import kvae


def strategy_of(replicas: str):
    """That of so many replicas in this process, of `workers`, or none for 1."""
    if replicas == "workers":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if replicas == "1":
        return tf.distribute.get_strategy()
    devices = [tf.config.LogicalDeviceConfiguration()] * int(replicas)
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(int(replicas))])


def curves(replicas: str, seeds: int, epochs: int) -> list:
    """The training losses `[seeds][epochs]`."""
    strategy, found = strategy_of(replicas), []
    for seed in range(seeds):
        data = kvae.data.load("digits", binarize="dynamic", batch_size=100, seed=seed)
        with strategy.scope():
            keras.utils.set_random_seed(seed)
            networks = kvae.networks.mlp(data.event_shape, 10, hidden=(100,))
            vae = kvae.VAE(*networks, likelihood="bernoulli", seed=seed)
            vae.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
        found.append(vae.fit(data.train, epochs=epochs, verbose=0).history["loss"])
    return found


def started(replicas: str, options, **environment) -> subprocess.Popen:
    """This program for one kind of training."""
    command = [sys.executable, __file__, "--replicas", replicas, "--seeds", options.seeds, "--epochs", options.epochs]
    environment = {**os.environ, **environment}
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment)


def result(process: subprocess.Popen) -> np.ndarray:
    """What it printed."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"A training ended with status {process.returncode}.")
    return np.array(json.loads(output.splitlines()[-1]))


def of_two_workers(options) -> np.ndarray:
    """The curves of the first of two workers."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    tasks = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in range(2)]
    workers = [started("workers", options, TF_CONFIG=task) for task in tasks]
    found = [result(worker) for worker in workers]
    return found[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--replicas", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replicas:
        print(json.dumps(curves(options.replicas, options.seeds, options.epochs)))
        return
    alone = result(started("1", options))
    others = {f"{n} replicas": result(started(str(n), options)) for n in (2, 4)}
    others["2 workers"] = of_two_workers(options)
    print(f"One device, epoch {options.epochs}: {alone[:, -1].mean():.4f}, deviation {alone[:, -1].std(ddof=1):.4f}\n")
    print("| | last epoch | largest difference of the means | in standard errors | at one seed |")
    print("|---|---:|---:|---:|---:|")
    for name, found in others.items():
        difference = np.abs(found.mean(0) - alone.mean(0))
        error = np.sqrt((found.var(0, ddof=1) + alone.var(0, ddof=1)) / options.seeds)
        cells = f"{difference.max():.1e} | {(difference / error).max():.1e} | {np.abs(found - alone).max():.1e}"
        print(f"| {name} | {found[:, -1].mean():.4f} | {cells} |")


if __name__ == "__main__":
    main()

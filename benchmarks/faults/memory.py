"""Train for a thousand epochs, and fit, export and load a hundred times: the memory stays what it was.

    python benchmarks/faults/memory.py epochs --count 1000  # a minute
    python benchmarks/faults/memory.py cycles --count 100  # four minutes

The memory is what the process holds of its own (resident, without files). `epochs` looks a hundred times during the
training, which follows a warm-up. A cycle builds a model, trains it, exports it, saves it, and loads both; both
print the memory, the threads and the open files at tenths, and the slope of the memory over the second half.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import argparse
import gc
import pathlib
import re
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import keras
import numpy as np
import tensorflow as tf

import kvae


class Held(NamedTuple):
    """What the process holds."""

    megabytes: float
    threads: int
    files: int


def held() -> Held:
    """By Linux, after the garbage is collected."""
    gc.collect()
    status = pathlib.Path("/proc/self/status").read_text()
    kilobytes, threads = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("RssAnon", "Threads"))
    return Held(kilobytes / 1024, threads, len(os.listdir("/proc/self/fd")))


def model(event_shape=(8, 8, 1)) -> kvae.VAE:
    """A small one for the digits."""
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp(event_shape, 10, hidden=(64,)), likelihood="bernoulli")
    vae.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    return vae


def epochs(count: int, warm: int = 20) -> dict[int, Held]:
    """By epoch: at the end of the warm-up, 0, and a hundred times after it, with validation and checkpoints."""
    data = kvae.data.load("digits", binarize="dynamic", batch_size=100)
    vae, found, often = model(data.event_shape), {}, max(1, count // 100)

    def look(epoch, logs):
        number = epoch + 1 - warm
        if number >= 0 and number % often == 0:
            found[number] = held()

    with tempfile.TemporaryDirectory() as folder:
        callbacks = [
            kvae.callbacks.Checkpoint(f"{folder}/m.keras", seconds=2.0),
            keras.callbacks.LambdaCallback(on_epoch_end=look),
        ]
        vae.fit(data.train, validation_data=data.validation, epochs=count + warm, verbose=0, callbacks=callbacks)
    return found


def cycles(count: int, warm: int = 10) -> dict[int, Held]:
    """By cycle: at the end of each after the warm-up."""
    data, found = kvae.data.load("digits", binarize="dynamic", batch_size=500), {}
    for number in range(-warm, count):
        with tempfile.TemporaryDirectory() as folder:
            vae = model(data.event_shape)
            vae.fit(data.train, epochs=1, verbose=0, callbacks=kvae.callbacks.Checkpoint(f"{folder}/m.keras"))
            vae.export(f"{folder}/1", verbose=False)
            kvae.export.verify(f"{folder}/1")
            served = tf.saved_model.load(f"{folder}/1")
            served.signatures["encode"](x=tf.zeros([2, 8, 8, 1]))
            again = kvae.load_model(f"{folder}/m.keras")
            again.encode(data.test.x[:2])
        del vae, served, again
        kept = held()
        if number >= 0:
            found[number] = kept
    return found


def slope(found: dict[int, Held]) -> float:
    """Megabytes by epoch or cycle, a line through the second half."""
    half = list(found)[len(found) // 2 :]
    return float(np.polyfit(half, [found[number].megabytes for number in half], 1)[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=["epochs", "cycles"])
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    begun = time.monotonic()
    found = {"epochs": epochs, "cycles": cycles}[options.job](options.count)
    for number in list(found)[:: max(1, len(found) // 10)]:
        megabytes, threads, files = found[number]
        print(f"{number:5d}  {megabytes:8.1f} MB  {threads:4d} threads  {files:4d} files", flush=True)
    first, *_, last = found.values()
    print(f"from first to last {last.megabytes / first.megabytes - 1:+.2%}; ", end="")
    print(f"{1000 * slope(found):+.1f} kB each in the second half; ", end="")
    print(f"threads {last.threads - first.threads:+d}, files {last.files - first.files:+d}; ", end="")
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()

"""Training with the rows on disk beside training with them in memory.

    python benchmarks/speed/streaming.py  # two minutes; writes its lines of docs/performance.md
    python benchmarks/speed/streaming.py --keep  # prints only

Two calls of `fit` of one model take turns, on the same 40,000 images of 28 x 28 pixels in uint8: as an array, and as a
memory-mapped file, all of which is in the system's cache. The ratio of the times of an epoch is the median over rounds.
"""

import argparse
import os
import pathlib
import statistics
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

import keras
import numpy as np
from speed import replace_section

import kvae
from kvae.training import loop

IMAGES, BATCH = 39_936, 128  # whole batches


def ratios(vae, splits, rounds: int) -> tuple[float, float, float]:
    """The quartiles of the time of an epoch with the second split over that with the first."""
    found = []
    for number in range(rounds + 1):
        seconds = []
        for split in splits if number % 2 else splits[::-1]:
            begun = time.perf_counter()
            vae.fit(split, epochs=2, verbose=0)
            seconds.append(time.perf_counter() - begun)
        one, other = seconds if number % 2 else seconds[::-1]
        found.append(other / one)
    return statistics.quantiles(found[1:], n=4)  # the first round compiles


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--keep", action="store_true", help="leave docs/ as it is")
    options = parser.parse_args()
    loop.LARGEST_HELD = 0  # stream what is small, too
    x = np.random.default_rng(0).integers(0, 256, (IMAGES, 28, 28, 1)).astype(np.uint8)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(pathlib.Path(folder, "x_train.npy"), x)
        stored = kvae.data.folder(folder)["x_train"]
        splits = [kvae.data.Split(array, scale=1 / 255, batch_size=BATCH) for array in (x, stored)]
        for hidden in (400, 64):
            networks = kvae.networks.mlp((28, 28, 1), 20, hidden=(hidden,))
            vae = kvae.VAE(*networks, likelihood="continuous_bernoulli")
            vae.compile(keras.optimizers.Adam(1e-3))
            low, middle, high = ratios(vae, splits, options.rounds)
            name = f"784-{hidden}-20-{hidden}-784"
            lines.append(f"- {name}, batches of {BATCH}: {middle:.2f} ({low:.2f} to {high:.2f}) times as long.")
            print(lines[-1], flush=True)
    if not options.keep:
        replace_section(HERE.parents[1] / "docs" / "performance.md", "streaming", "\n".join(lines))


if __name__ == "__main__":
    main()

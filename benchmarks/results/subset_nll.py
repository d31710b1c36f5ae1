"""log p(x) with 5,000 draws of all test images of a saved run, from 5,000 draws of some and 10 draws of all.

    python benchmarks/results/subset_nll.py --run RUN --data_dir DIR  # half an hour for a convolutional network

RUN is the `--output` of examples/train.py. For decoders that take too long for all images: with l_k(x) the estimate
from k draws, mean of l_10 over all images + mean of (l_5000 - l_10) over images chosen at random without replacement.
It has the expectation of the mean of l_5000 over all images, and misses it by the standard error of the second term,
which is small, since the two estimates of an image go together (a difference estimator; Cochran, Sampling techniques,
section 7.8).
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import kvae
from kvae.evaluate.per_example import per_example

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))


def of_all(few, many, chosen) -> tuple[float, float]:
    """The mean over all images for many draws, and its error for having chosen.

    `few` is for all images, `many` for those of the numbers `chosen`, by another seed.
    """
    gain = many - few[chosen]
    left = np.sqrt(1.0 - len(chosen) / len(few)) * gain.std(ddof=1) / np.sqrt(len(chosen))
    return float(few.mean() + gain.mean()), float(left)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True)
    parser.add_argument("--data_dir")
    parser.add_argument("--images", type=int, default=3000, help="scored with many draws")
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--many", type=int, default=5000)
    options = parser.parse_args()
    from evaluate import load_part  # examples/evaluate.py

    vae = kvae.load_model(Path(options.run) / "model.keras")
    data, split = load_part(vae, options.run, data_dir=options.data_dir)
    x = split.x
    began = time.perf_counter()
    few = per_example(vae, x, options.few, seed=0).log_likelihood
    chosen = np.sort(np.random.default_rng(0).choice(len(x), min(options.images, len(x)), replace=False))
    many = per_example(vae, x[chosen], options.many, seed=1).log_likelihood
    value, left = of_all(few, many, chosen)
    pixels = int(np.prod(vae.event_shape)) * np.log(2.0)
    print(f"{len(x)} test images of {data.name}, {options.few} draws: {few.mean():.4f} nats")
    more = (many - few[chosen]).mean()
    print(f"{len(chosen)} of them, {options.many} draws: {many.mean():.4f}, which is {more:.4f} more")
    error = few.std(ddof=1) / np.sqrt(len(x))
    print(f"all, {options.many} draws: {value:.4f} ± {error:.4f} nats (for having chosen ± {left:.4f})")
    print(f"{-value / pixels:.4f} ± {error / pixels:.4f} bits per pixel")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

"""Lossless compression of test images: bits a dimension of `kvae.compress`, the negative ELBO and other programs.

    python benchmarks/results/compression.py  # binarised digits, under a minute
    python benchmarks/results/compression.py --data mnist_binary --data_dir DIR --epochs 60
    python benchmarks/results/compression.py --data mnist_grey --data_dir DIR --epochs 40 --images 2000 --draws 5

Trains with the output bias at the data (`adapt`), by Adam on a cosine from the protocol's rate to 0 and batches of 100,
or loads --model. Binarised images are those of kvae.data's static binarisation; the training digits are binarised anew
every batch.

The negative ELBO is the mean over the test images and --draws draws of z each. Its error is that of what the code has:
one draw an image of log q(z|x) - log p(x|z) - log p(z). Where q is good this varies less than -log p(x|z) + KL, by
which `vae.elbo` finds the mean. gzip, bz2 and lzma get all images at once at their strongest, binary ones as bytes and
as packed bits, of which the shorter counts. PNG and lossless WebP (Pillow) get each image by itself, and all in one
below each other; of PNG and of WebP the shorter counts.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import bz2
import gzip
import io
import lzma
import math
import platform
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import kvae
from kvae.compress import container

PROTOCOLS = {  # the data set, the widths, the latents, the learning rate, the likelihood
    "digits": ("digits", (100, 100), 10, 1e-3, "bernoulli"),
    "mnist_binary": ("mnist", (200, 200), 50, 4e-3, "bernoulli"),
    "mnist_grey": ("mnist", (200,), 50, 2e-3, "beta_binomial"),
}


def load(name: str, seed: int, data_dir: str | None):
    """Training data, and test images uint8 `[N, h, w, 1]`."""
    kind = "dynamic" if name == "digits" else "static" if name == "mnist_binary" else None
    data = kvae.data.load(PROTOCOLS[name][0], validation=0, binarize=kind, batch_size=100, seed=seed, data_dir=data_dir)
    if name == "mnist_grey":
        return kvae.data.Split(data.train.array, batch_size=100, seed=seed), np.asarray(data.test.array)
    return data.train, np.asarray(data.test.x).astype(np.uint8)


def trained(name: str, train, epochs: int, seed: int) -> kvae.VAE:
    """A model of the protocol."""
    _, hidden, latents, rate, likelihood = PROTOCOLS[name]
    keras.utils.set_random_seed(seed)
    encoder, decoder = kvae.networks.mlp(train.event_shape, latents, hidden=hidden, activation="tanh")
    vae = kvae.VAE(encoder, decoder, likelihood=likelihood, seed=seed)
    vae.adapt(train)
    steps = epochs * math.ceil(len(train) / train.batch_size)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)))
    vae.fit(train, epochs=epochs, verbose=0)
    return vae


def others(x: np.ndarray) -> dict[str, int]:
    """Bytes by program."""
    raw = [x.tobytes()] + [np.packbits(x).tobytes()] * int(x.max() == 1)
    programs: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda one: gzip.compress(one, 9), "bz2": lambda one: bz2.compress(one, 9),
        "lzma": lambda one: lzma.compress(one, preset=9 | lzma.PRESET_EXTREME),
    }  # fmt: skip
    found = {name: min(len(program(one)) for one in raw) for name, program in programs.items()}
    sheets = np.array_split(x[..., 0], math.ceil(len(x) * x.shape[1] / 16_000))  # WebP has at most 16,383 rows
    together = [sheet.reshape(-1, x.shape[2]) for sheet in sheets]
    for name, options in (("PNG", {"optimize": True}), ("WebP", {"lossless": True, "quality": 100, "method": 6})):
        found[name] = min(sum(pictured(one, name, options) for one in images) for images in (x[..., 0], together))
    return found


def pictured(image: np.ndarray, name: str, options: dict) -> int:
    """The bytes of an image."""
    picture = Image.fromarray(image if image.max() > 1 else image * 255)
    if name == "PNG" and image.max() <= 1:
        picture = picture.convert("1")
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.tell()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=list(PROTOCOLS), default="digits")
    parser.add_argument("--data_dir")
    parser.add_argument("--model", help="a .keras file to load, or to write after training")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--images", type=int, help="of the test part, by default all")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train, x = load(options.data, options.seed, options.data_dir)
    x = x[: options.images]
    begun = time.perf_counter()
    if options.model and os.path.exists(options.model):
        vae = kvae.load_model(options.model)
    else:
        vae = trained(options.data, train, options.epochs, options.seed)
        print(f"trained in {time.perf_counter() - begun:.0f} s")
        if options.model:
            vae.save(options.model)
    report(vae, x, options.draws, options.seed)


def spread(vae, x: np.ndarray, draws: int, seed: int) -> float:
    """The variance of one draw of log p(x|z) + log p(z) - log q(z|x), nats squared, summed over the images."""
    total = 0.0
    for first in range(0, len(x), 1000):
        terms = vae.terms(x[first : first + 1000], samples=draws, seed=seed)
        each = sum(sign * part.numpy().astype(np.float64)
                   for sign, part in ((1, terms.log_px_z), (1, terms.log_pz), (-1, terms.log_qz_x)))  # fmt: skip
        total += each.var(axis=0, ddof=1).sum()
    return total


def report(vae, x: np.ndarray, draws: int, seed: int) -> None:
    """Print the table."""
    elements = x[0].size
    bits = 1.0 / (math.log(2.0) * elements)
    each = np.stack([vae.elbo(x, seed=seed + draw).numpy() for draw in range(draws)]).astype(np.float64)
    sampled = -each.mean() * bits
    of_one = math.sqrt(spread(vae, x, draws, seed)) / len(x) * bits
    kvae.compress.decode(vae, kvae.compress.encode(vae, x[:100]))  # traces
    begun = time.perf_counter()
    content = kvae.compress.encode(vae, x)
    between = time.perf_counter()
    assert np.array_equal(kvae.compress.decode(vae, content), x)
    ended = time.perf_counter()
    header, begin = container.header_of(content)
    coded = sum(4 * len(block.words) for block, _, _ in container.blocks_of(content, header, begin))
    found = 8.0 * len(content) / x.size
    print(
        f"{len(x)} images of {elements} elements, seed {seed}; TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )
    print(f"Python {platform.python_version()}, kvae {kvae.__version__}, Pillow {Image.__version__}")
    print("\n| | bits/dim | bytes |\n|---|---:|---:|")
    print(f"| `kvae.compress` | {found:.4f} | {len(content):,} |")
    print(f"| without header and checksums | {8.0 * coded / x.size:.4f} | {coded:,} |")
    print(f"| negative ELBO | {sampled:.4f} ± {of_one:.4f} | |")
    for name, size in others(x).items():
        print(f"| {name} | {8.0 * size / x.size:.4f} | {size:,} |")
    over = [100.0 * (8.0 * size / x.size / sampled - 1.0) for size in (len(content), coded)]
    error = 100.0 * of_one / sampled
    print(f"\nover the negative ELBO: {over[0]:+.2f} %, without header and checksums {over[1]:+.2f} ± {error:.2f} %")
    print(f"images/s: {len(x) / (between - begun):.0f} encoded and verified, {len(x) / (ended - between):.0f} decoded")


if __name__ == "__main__":
    main()

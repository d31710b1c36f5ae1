"""Bits per dimension of small colour images: codes with three priors, beside a plain VAE of the same networks.

    python benchmarks/results/colours.py --data cifar10.npz  # x_train and x_test, uint8 [N, 32, 32, 3]

Convolutional networks: two convolutions of stride 2 with 64 filters, two residual blocks, and their mirror image. The
likelihood is a logistic distribution for each number, rounded to the 256 levels. So -ELBO / (D ln 2) is a bound on the
bits per dimension of the integers themselves: codes first, at -log2 p(code), then the pixels given them. There are 64
codes (8 x 8), of 512 codewords (`vq`) or of 7 x 5 x 5 x 5 levels (`fsq`). Their priors are fitted after training, on
the same networks. Adam with learning rate 3e-4, batch 32.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import math
import time

import keras
import numpy as np
from keras import layers

import kvae
from kvae import posteriors, priors

ROWS = {
    "vae": (4, lambda: {}),
    "vq": (24, lambda: {"posterior": posteriors.VectorQuantized(512, dim=24), "prior": priors.Codes("uniform")}),
    "fsq": (4, lambda: {"posterior": posteriors.FiniteScalar((7, 5, 5, 5)), "prior": priors.Codes("uniform")}),
}


def residual(x, filters: int):
    """One block: a 3 x 3 and a 1 x 1 convolution beside the identity."""
    y = layers.Conv2D(filters // 2, 3, padding="same", activation="relu")(layers.ReLU()(x))
    return layers.Add()([x, layers.Conv2D(filters, 1)(y)])


def networks(size: int, filters: int, flat: bool) -> tuple[keras.Model, keras.Model]:
    """Encoder to a map of 8 x 8 places (or flat features), and decoder from `size` numbers of z at each of them."""
    x = keras.Input((32, 32, 3))
    y = layers.Conv2D(filters, 4, strides=2, padding="same", activation="relu")(x)
    y = layers.Conv2D(filters, 4, strides=2, padding="same")(y)
    y = residual(residual(y, filters), filters)
    encoder = keras.Model(x, layers.Flatten()(layers.Conv2D(2 * size, 1)(y)) if flat else y)
    z = keras.Input((64 * size,))
    y = layers.Conv2D(filters, 3, padding="same")(layers.Reshape((8, 8, size))(z))
    y = layers.ReLU()(residual(residual(y, filters), filters))
    y = layers.Conv2DTranspose(filters, 4, strides=2, padding="same", activation="relu")(y)
    y = layers.Conv2DTranspose(filters, 4, strides=2, padding="same", activation="relu")(y)
    return encoder, keras.Model(z, y)


def bits(vae, data) -> str:
    """The one-sample bound in bits per dimension, with its standard error over the images."""
    elbo = np.concatenate(
        [vae.elbo(data.part(np.arange(i, min(i + 100, len(data)))), seed=0) for i in range(0, len(data), 100)]
    )
    each = -elbo / (math.prod(vae.event_shape) * math.log(2.0))
    return f"{each.mean():.3f} ± {each.std(ddof=1) / math.sqrt(len(each)):.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="a .npz file")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--prior_steps", type=int, default=1000)
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with np.load(options.data) as arrays:
        train, test = (
            kvae.data.Split(arrays[name].astype(np.float32), batch_size=32) for name in ("x_train", "x_test")
        )
    print("| row | prior | bits/dim, test | bits/dim, training | seconds |\n|---|---|---:|---:|---:|", flush=True)
    for row in options.rows:
        keras.utils.set_random_seed(options.seed)
        size, parts = ROWS[row]
        likelihood = kvae.likelihoods.DiscretizedLogistic(256)
        pair = networks(size, options.filters, flat=row == "vae")
        vae = kvae.VAE(*pair, likelihood=likelihood, seed=options.seed, **parts())
        vae.adapt(train)
        vae.compile(keras.optimizers.Adam(3e-4))
        start = time.perf_counter()
        vae.fit(train, epochs=options.epochs, verbose=0)
        for kind in ("uniform", "categorical", "autoregressive") if row != "vae" else ("standard normal",):
            if kind in ("categorical", "autoregressive"):
                vae.fit_prior(train, priors.Codes(kind), steps=options.prior_steps)
            seconds = time.perf_counter() - start
            print(
                f"| {row} | {kind} | {bits(vae, test)} | {bits(vae, train.first(1000))} | {seconds:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()

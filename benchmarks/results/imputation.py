"""Missing cells of tables, filled in by a VAE, means, one Gaussian and scikit-learn's IterativeImputer.

    python benchmarks/results/imputation.py                                     # breast cancer, half missing
    python benchmarks/results/imputation.py --data_dir DIR --tables wine breast --rates 10 30 50

Without --data_dir: the breast cancer table of scikit-learn as in the notebook of MIWAE (Mattei, Frellsen 2019): columns
standardised by all rows, the hidden cells too; half of the cells missing at random, seed 1234; the mean squared error
of the hidden cells in these units. "positive" is the same table in its own units, with `LogNormal` for all columns;
those that hold 0 are shifted by 2 % of their observed mean. Of --seeds models each by itself, and the mean of their
imputations.

DIR holds HI-VAE's tables (Nazabal et al. 2020) as `mixed_<name>.npz`: x, the types of its columns, and ten masks for
each rate of missing cells. Errors by kind of column as HI-VAE has them, the mean over the masks and its standard error.

A tenth of the observed cells is hidden from training and tells when to stop. The encoder multiplies what each observed
cell says of z (`Evidence` below), so that any pattern of holes is as good as any other.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_probability as tfp
from sklearn.datasets import load_breast_cancer

import kvae

KINDS = {"real": "real", "pos": "positive", "count": "count", "cat": "categorical", "ordinal": "ordinal"}
FLOOR = 1e-5  # of FullNormal


class Evidence(keras.layers.Layer):
    """q(z|x_o) in proportion to N(z; 0, I) prod_j N(x_j; b_j + v_j z, s_j^2) over the observed cells x_j.

    For a linear decoder it can be exact. From x `[B, D]` and the mask it gives what `FullNormal(project=False)` takes.
    """

    def __init__(self, latent_dim, classes, **options):
        super().__init__(**options)
        self.latent_dim, self.classes = latent_dim, tuple(classes)
        self.one_hot = kvae.networks.OneHot(self.classes)

    def build(self, shapes):
        size = self.one_hot.compute_output_shape(shapes[0])[1]
        start = keras.initializers.RandomNormal(stddev=0.3)
        self.directions = self.add_weight(name="directions", shape=(size, self.latent_dim), initializer=start)
        self.log_precision = self.add_weight(name="log_precision", shape=(size,), initializer="zeros")
        self.offset = self.add_weight(name="offset", shape=(size,), initializer="zeros")

    def call(self, inputs):
        x, mask = inputs
        numbers = [i for i, k in enumerate(self.classes) if not k]
        seen = [tf.gather(mask, numbers, axis=-1)]
        seen += [tf.repeat(mask[:, i : i + 1], k, axis=1) for i, k in enumerate(self.classes) if k]
        x, seen = self.one_hot(x), tf.concat(seen, axis=-1)
        v = self.directions * tf.exp(self.log_precision)[:, None]
        each = tf.reshape(v[:, :, None] * v[:, None], [-1, self.latent_dim**2])
        precision = tf.reshape(tf.matmul(seen, each), [-1, self.latent_dim, self.latent_dim]) + tf.eye(self.latent_dim)
        factor = tf.linalg.cholesky(precision)
        push = tf.matmul(seen * (x - self.offset) * tf.exp(self.log_precision), v)
        mean = tf.linalg.cholesky_solve(factor, push[..., None])[..., 0]
        identity = tf.eye(self.latent_dim, batch_shape=[tf.shape(x)[0]])
        scale = tf.linalg.cholesky(tf.linalg.cholesky_solve(factor, identity))
        raw = tfp.math.softplus_inverse(tf.maximum(tf.linalg.diag_part(scale) - FLOOR, 1e-6))
        return tf.concat([mean, tfp.math.fill_triangular_inverse(tf.linalg.set_diag(scale, raw))], axis=-1)


def networks(columns, classes, options):
    """The encoder above, and a decoder that adds an MLP to z."""
    x, mask = keras.Input((columns,), name="x"), keras.Input((columns,), name="mask")
    encoder = keras.Model([x, mask], Evidence(options.latent_dim, classes)([x, mask]))
    z = keras.Input((options.latent_dim,))
    features = keras.layers.Identity()(z)
    for size in options.hidden:
        features = keras.layers.Dense(size, activation="tanh")(features)
    return encoder, keras.Model(z, keras.layers.Concatenate()([z, features]) if options.hidden else features)


def trained(data, classes, likelihood, seed, options):
    """A VAE of a split with holes, stopped by cells that are hidden from it, and the number of passes over the data.

    With --refit another one is trained on all cells for as many passes.
    """
    vae = compiled(data, classes, likelihood(), seed, options)
    train = data.hide(0.1, seed)
    epochs = max(1, -(-options.steps * options.batch_size // len(data)))
    every = max(1, epochs // options.checks)
    some = np.random.default_rng(seed).permutation(len(data))[:2000]
    stop = kvae.callbacks.HeldOutCells(data.part(some), train.mask[some], every, options.patience, samples=50)
    vae.fit(train, batch_size=options.batch_size, epochs=epochs, verbose=0, callbacks=[stop])
    if options.refit:
        vae = compiled(data, classes, likelihood(), seed, options)
        vae.fit(data, batch_size=options.batch_size, epochs=stop.best_epoch, verbose=0)
    return vae, stop.best_epoch


def compiled(data, classes, likelihood, seed, options):
    """A new VAE."""
    keras.utils.set_random_seed(seed)
    both = networks(data.event_shape[0], classes, options)
    posterior = kvae.posteriors.FullNormal(project=False)
    vae = kvae.VAE(*both, posterior=posterior, likelihood=likelihood, objective=options.objective, seed=seed)
    vae.compile(keras.optimizers.Adam(options.learning_rate), jit_compile=False)
    vae.adapt(data)
    return vae


def miwae(options):
    """MIWAE's protocol on breast cancer."""
    raw = load_breast_cancer().data
    center, spread = raw.mean(0), raw.std(0)
    x = (raw - center) / spread
    np.random.seed(1234)
    mask = np.ones(x.size, bool)
    mask[np.random.choice(x.size, x.size // 2, replace=False)] = False
    mask = mask.reshape(x.shape)

    def error(filled):
        return np.square(filled - x)[~mask].mean()

    means = np.nanmean(np.where(mask, raw, np.nan), axis=0)
    shift = np.where((np.where(mask, raw, 1.0) > 0.0).all(axis=0), 0.0, 0.02 * means)  # of columns that hold 0
    columns = [kvae.evaluate.imputers.Column(str(i), "real", 0) for i in range(x.shape[1])]
    for name, impute in kvae.evaluate.imputers.IMPUTERS.items():
        print(f"| {name} | {error(impute(np.where(mask, x, np.nan), columns, 0)):.4f} |", flush=True)
    filled = kvae.evaluate.imputers.gaussian(np.where(mask, np.log(raw + shift), np.nan), columns, 0)
    print(f"| gaussian of logarithms | {error((np.exp(filled) - shift - center) / spread):.4f} |")
    frame = pd.DataFrame(np.where(mask, raw + shift, np.nan), columns=[column.name for column in columns])
    table = kvae.data.table(frame, {column.name: "positive" for column in columns})
    plain = kvae.data.Split(np.where(mask, x, 0.0), mask=mask)
    variants = {
        "normal": (plain, lambda: kvae.likelihoods.Normal(per="element"), lambda filled: filled),
        "positive": (table.data, table.likelihood, lambda filled: (filled - shift - center) / spread),
    }
    for name in options.variants:
        data, likelihood, standardised = variants[name]
        total, errors = np.zeros_like(x), []
        for seed in range(options.seeds):
            vae, epochs = trained(data, [0] * x.shape[1], likelihood, seed, options)
            filled = standardised(vae.impute(data, samples=options.samples, seed=seed).numpy())
            total, errors = total + filled / options.seeds, [*errors, error(filled)]
            print(f"| VAE, {name}, seed {seed}, {epochs} epochs | {errors[-1]:.4f} |", flush=True)
        deviation = np.std(errors, ddof=1) if len(errors) > 1 else np.nan
        print(f"| VAE, {name}, mean and deviation over seeds | {np.mean(errors):.4f} ± {deviation:.4f} |")
        print(f"| VAE, {name}, mean of the {options.seeds} imputations | {error(total):.4f} |", flush=True)


def mixed(name, rate, options):
    """One of HI-VAE's tables at one rate: the errors of all methods by kind, over the masks."""
    file = np.load(options.data_dir / f"mixed_{name}.npz")
    x, types = file["x"], [str(one) for one in file["types"]]
    bits = np.unpackbits(file[f"observed_{rate}"], count=10 * x.size).astype(bool).reshape(10, *x.shape)
    known = file["observed_true"].astype(bool).reshape(x.shape) if "observed_true" in file else np.ones(x.shape, bool)
    frame, kinds = as_frame(x, known, types, file["classes"])
    table = kvae.data.table(frame, kinds)
    errors, kinds_seen = [], []
    for number in range(options.masks):
        mask = bits[number] & table.mask
        whole = table.data
        data = whole.replace(mask=mask)
        vae, epochs = trained(data, table.classes, table.likelihood, number, options)
        found = kvae.evaluate.imputation(vae, whole, mask, options.baselines, options.samples, number)
        errors.append([[*found.kinds[method].values(), found.error[method]] for method in found.error])
        kinds_seen = [*found.kinds["vae"], "mean of columns"]
        told = " ".join(f"{method} {value:.4f}" for method, value in found.error.items())
        print(f"# {name} {rate} % mask {number}: {told}; {epochs} epochs", flush=True)
    mean = np.mean(errors, axis=0)
    error = np.std(errors, axis=0, ddof=1) / np.sqrt(len(errors)) if len(errors) > 1 else np.full_like(mean, np.nan)
    for i, kind in enumerate(kinds_seen):
        each = " | ".join(f"{m:.4f} ± {e:.4f}" for m, e in zip(mean[:, i], error[:, i], strict=True))
        print(f"| {name} | {rate} % | {kind} | {each} |", flush=True)


def as_frame(x, known, types, classes):
    """A pandas.DataFrame of a HI-VAE table, and its kinds."""
    columns, kinds = {}, {}
    for i, kind in enumerate(types):
        name, values = f"{kind}_{i}", np.where(known[:, i], x[:, i], np.nan)
        kinds[name] = KINDS[kind]
        if kind == "cat" and classes[i] == 2:
            kinds[name] = "binary"
        if kind == "ordinal":
            kinds[name] = range(1, classes[i] + 1)
        if kind == "pos" and np.nanmin(values) <= 0.0:
            values = values + 1.0  # as HI-VAE does
        columns[name] = values
    return pd.DataFrame(columns), kinds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--tables", nargs="*", default=["wine", "breast"])
    parser.add_argument("--rates", type=int, nargs="*", default=[10, 20, 30, 40, 50])
    parser.add_argument("--masks", type=int, default=10)
    parser.add_argument("--baselines", nargs="*", default=["mean", "gaussian", "iterative"])
    parser.add_argument("--variants", nargs="*", default=["normal", "positive"])
    parser.add_argument("--refit", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--latent_dim", type=int, default=8)
    parser.add_argument("--hidden", type=int, nargs="*", default=[])
    parser.add_argument("--objective", default="elbo")
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--checks", type=int, default=40)
    parser.add_argument("--patience", type=int, default=6)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    started = time.time()
    if options.data_dir is None:
        print("| method | mean squared error |\n|---|---:|")
        miwae(options)
    else:
        print("| table | missing | kind | vae | " + " | ".join(options.baselines) + " |")
        print("|---|---:|---|" + "---:|" * (1 + len(options.baselines)))
        for name in options.tables:
            for rate in options.rates:
                mixed(name, rate, options)
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()

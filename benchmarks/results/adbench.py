"""Anomalies in ADBench's tables, one-class: a VAE beside PCA, nearest neighbours, IsolationForest and one Gaussian.

    python benchmarks/results/adbench.py --data DIR --seeds 5  # all sets there

DIR holds ADBench's `.npz` files (Han et al. 2022, arXiv 2206.09426) with X and y, 1 for anomalies. A random half of the
normal rows, at most --rows, trains every method; the other half and all anomalies are the test. Columns are
standardised by the training rows. The VAE has one hidden layer, the same everywhere; no anomaly and no test row chooses
anything. AUROC in percent: for each set the mean over the seeds, and below the mean over the sets, with the standard
error over the seeds, and the VAE's gain over each method with its standard error over the sets.
With pyod installed, its VAE is there, too.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import importlib.util
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

import kvae


def vae(train, test, seed, options):
    """A VAE with a scale for each column; strange is a low ELBO."""
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((train.shape[1],), options.latent_dim, hidden=(options.hidden,))
    model = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(per="element"), seed=seed)
    model.compile(keras.optimizers.Adam(1e-3))
    model.adapt(train)
    epochs = max(1, -(-options.steps * 128 // len(train)))
    model.fit(train, batch_size=128, epochs=epochs, verbose=0)
    return kvae.anomaly.Detector(model, options.score, samples=options.samples, seed=seed).score(test)


def pca(train, test, seed, options):
    """Its log-likelihood, with components for 90 % of the variance."""
    return -PCA(0.9, svd_solver="full").fit(train).score_samples(test)


def knn(train, test, seed, options):
    """The distance to the fifth neighbour."""
    return NearestNeighbors(n_neighbors=5).fit(train).kneighbors(test)[0][:, -1]


def isolation_forest(train, test, seed, options):
    """Of a hundred trees."""
    return -IsolationForest(random_state=seed).fit(train).score_samples(test)


def gaussian(train, test, seed, options):
    """One normal distribution with a full covariance; a ridge, since columns may repeat each other."""
    return -kvae.evaluate.Gaussian.fit(train, ridge=1e-6).log_prob(test)


def pyod_vae(train, test, seed, options):
    """With pyod's own settings."""
    from pyod.models.vae import VAE

    return VAE(random_state=seed, verbose=0).fit(train).decision_function(test)


def split(file, seed, rows):
    """Training rows, test rows and which of these are anomalies."""
    data = np.load(file)
    x, y = data["X"].astype(np.float64), data["y"].astype(bool)
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~y))
    half = len(normal) // 2
    train, rest = x[normal[:half][:rows]], x[np.concatenate([normal[half:], np.flatnonzero(y)])]
    center, spread = train.mean(0), train.std(0)
    spread[spread == 0.0] = 1.0
    train, rest = ((part - center) / spread for part in (train, rest))
    return train.astype(np.float32), rest.astype(np.float32), np.arange(len(rest)) >= len(normal) - half


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", help="their names without .npz; by default all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--latent_dim", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--score", default="elbo")
    parser.add_argument("--samples", type=int, default=16)
    options = parser.parse_args()
    started = time.time()
    methods = [vae, pca, knn, isolation_forest, gaussian]
    methods += [pyod_vae] if importlib.util.find_spec("pyod") else []
    names = [method.__name__ for method in methods]
    files = sorted(options.data.glob("*.npz"))
    files = [file for file in files if not options.sets or file.stem in options.sets]
    print("| set | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    table = np.zeros((len(files), options.seeds, len(methods)))
    for i, file in enumerate(files):
        for seed in range(options.seeds):
            train, test, strange = split(file, seed, options.rows)
            for j, method in enumerate(methods):
                table[i, seed, j] = 100.0 * roc_auc_score(strange, method(train, test, seed, options))
        print(f"| {file.stem} | " + " | ".join(f"{value:.1f}" for value in table[i].mean(0)) + " |", flush=True)
    over_sets = table.mean(0)
    error = over_sets.std(0, ddof=1) / np.sqrt(options.seeds) if options.seeds > 1 else np.full(len(methods), np.nan)
    cells = (f"{value:.1f} ± {e:.1f}" for value, e in zip(over_sets.mean(0), error, strict=True))
    print("| mean | " + " | ".join(cells) + " |")
    gain = table.mean(1)[:, :1] - table.mean(1)
    error = gain.std(0, ddof=1) / np.sqrt(len(files))
    cells = (f"{value:.1f} ± {e:.1f}" for value, e in zip(gain.mean(0)[1:], error[1:], strict=True))
    print("| gain of the VAE | | " + " | ".join(cells) + " |")
    print(f"{len(files)} sets, {options.seeds} seeds, {time.time() - started:.0f} s")


if __name__ == "__main__":
    main()

"""A wave that travels round without change: a VAE of 2 latents beside POD, and how far the code moves in k steps.

    python benchmarks/results/travelling_wave.py --figure docs/images/code_moves.png  # about a minute a seed

The states of one wave are a closed curve, which needs two numbers; POD needs two for each wavenumber. Trains on three
turns, and tests on places between those. ± is the standard deviation over the seeds of the model.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time

import keras
import numpy as np
from absl import app, flags

import kvae
from kvae import dynamics

flags.DEFINE_list("seeds", ["0", "1", "2"], "Of the models.")
flags.DEFINE_integer("epochs", 600, "Of the VAE, on 400 states.")
flags.DEFINE_string("figure", "", "A file for the figure of the moves, of the first seed.")

LATENTS, WAVE, K = 2, {"modes": 6, "points": 64, "seed": 0}, (1, 2, 4, 8, 16)


def trained(x, seed: int) -> kvae.VAE:
    """An MLP of two layers of 128, with the optimal scale."""
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((x.shape[-1],), LATENTS, hidden=(128, 128), activation="gelu")
    vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale="optimal"), seed=seed)
    epochs, batch = flags.FLAGS.epochs, 50
    rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * (len(x) // batch), alpha=1e-3)
    vae.compile(keras.optimizers.Adam(rate))
    vae.fit(x, batch_size=batch, epochs=epochs, verbose=0)
    return vae


def error(x, reconstruction) -> float:
    """Root mean square, in units of the wave's."""
    return float(np.sqrt(np.mean(np.square(x - reconstruction)) / np.mean(np.square(x))))


def main(_):
    """Print the tables."""
    begun = time.perf_counter()
    x = dynamics.flows.advection(1, 400, dt=0.05, **WAVE)
    test = dynamics.flows.advection(1, 700, dt=0.0271, **WAVE)
    for modes in (2, 4, 8, 12):
        pod = dynamics.PODRegression(modes, 1).fit(x)
        print(f"POD-{modes:<3d} error {error(test, pod.reconstruct(test)):.4f}", flush=True)
    errors, ratios = [], []
    for seed in map(int, flags.FLAGS.seeds):
        vae = trained(x[0], seed)
        errors.append(error(test[0], vae.reconstruct(test[0]).numpy()))
        codes = vae.encode(test[0]).mean().numpy()[None]
        moves = np.array([np.linalg.norm(codes[:, k:] - codes[:, :-k], axis=-1).mean() for k in K])
        ratios.append(moves / (np.array(K) * moves[0]))
        print(f"seed {seed}: VAE-{LATENTS} error {errors[-1]:.4f}; |z(t + k dt) - z(t)| for k = {K}:", moves.round(4))
        print("    over k times its first value:", ratios[-1].round(4), flush=True)
        if flags.FLAGS.figure and seed == int(flags.FLAGS.seeds[0]):
            kvae.plots.code_moves(codes, max(K), dt=0.0271).savefig(flags.FLAGS.figure, dpi=80)
    print(f"VAE-{LATENTS} error {np.mean(errors):.4f} ± {np.std(errors, ddof=1) if len(errors) > 1 else 0.0:.4f}")
    print("ratio", np.mean(ratios, axis=0).round(4), "±", np.std(ratios, axis=0).round(4))
    print(f"{time.perf_counter() - begun:.0f} s in all; kvae {kvae.__version__}, keras {keras.__version__}")


if __name__ == "__main__":
    app.run(main)

"""Kuramoto-Sivashinsky, length 22: a VAE of 8 latents with a transition on its codes, beside what has no VAE.

    python benchmarks/results/dynamics.py  # some ten minutes on two cores; --seeds 0,1,2 for three runs

Trains on trajectories of one seed, and forecasts from starts on others. Prints the energy that is kept, how far the
code moves in k steps, the valid prediction time (error above half of the field's root mean square) in time units and
in Lyapunov times of 23.26 (exponent 0.043), the coverage of 90 % bands, and the spectrum of a long roll-out.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time

import keras
import numpy as np
from absl import app, flags

import kvae
from kvae import dynamics

flags.DEFINE_list("seeds", ["0"], "Of the models.")
flags.DEFINE_integer("trajectories", 16, "For training, of 2500 states each.")
flags.DEFINE_integer("vae_epochs", 60, "Of the VAE.")
flags.DEFINE_integer("epochs", 60, "Of the transition, one step ahead.")
flags.DEFINE_integer("more_epochs", 20, "Of the transition, `horizon` steps ahead.")
flags.DEFINE_integer("horizon", 8, "Steps of time in the second training.")
flags.DEFINE_string(
    "vae", "", "A file for the VAE of the first seed: read where it is there, whatever --vae_epochs is, else written."
)

LATENTS, DT, LYAPUNOV_TIME, STEPS, STARTS, APART = 8, 0.25, 23.26, 400, 64, 150


def energy(x, reconstruction) -> float:
    """The share of the energy that is kept, in percent."""
    return 100.0 * (1.0 - np.sum(np.square(x - reconstruction)) / np.sum(np.square(x)))


def trained_vae(x, seed: int, path: str) -> kvae.VAE:
    """An MLP of two layers of 256, with the optimal scale."""
    if path and os.path.exists(path):
        print(f"The VAE is that of {path}, however long it was trained.")
        return kvae.load_model(path)
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((x.shape[-1],), LATENTS, hidden=(256, 256), activation="gelu")
    vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale="optimal"), seed=seed)
    flat = x.reshape(-1, x.shape[-1])
    epochs = flags.FLAGS.vae_epochs
    rate = keras.optimizers.schedules.CosineDecay(1e-3, epochs * (len(flat) // 128), alpha=1e-3)
    vae.compile(keras.optimizers.Adam(rate))
    vae.fit(flat, batch_size=128, epochs=epochs, verbose=0)
    if path:
        vae.save(path)
    return vae


def trained_dynamics(vae, x, seed: int) -> dynamics.Dynamics:
    """A residual transition: one step ahead first, then several."""
    keras.utils.set_random_seed(seed)
    one = dynamics.Dynamics(vae, "residual", seed=seed)
    steps = x.shape[0] * x.shape[1] // 256
    one.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, flags.FLAGS.epochs * steps)))
    one.fit(x, epochs=flags.FLAGS.epochs, verbose=0)
    if not flags.FLAGS.more_epochs:
        return one
    many = dynamics.Dynamics(vae, one.network, horizon=flags.FLAGS.horizon, seed=seed)
    rate = keras.optimizers.schedules.CosineDecay(3e-4, flags.FLAGS.more_epochs * steps)
    many.compile(keras.optimizers.Adam(rate))
    many.fit(x, epochs=flags.FLAGS.more_epochs, verbose=0)
    return many


def valid(name: str, forecast, truth) -> None:
    """Print a row of the table."""
    found = dynamics.valid_prediction_time(forecast, truth, DT)
    print(f"{name:28s} {found.mean:6.2f} ± {found.standard_error:4.2f}   {found.mean / LYAPUNOV_TIME:.2f}", flush=True)


def main(_):
    """Print the tables."""
    begun = time.perf_counter()
    x = dynamics.flows.kuramoto_sivashinsky(flags.FLAGS.trajectories, 2500, dt=DT, seed=0)
    validation = dynamics.flows.kuramoto_sivashinsky(4, 1000, dt=DT, seed=2)
    test = dynamics.flows.kuramoto_sivashinsky(8, STARTS // 8 * APART + STEPS, dt=DT, seed=1)
    print(f"data: {time.perf_counter() - begun:.0f} s")
    first = np.arange(STARTS // 8) * APART
    starts = test[:, first].reshape(STARTS, -1)
    truth = np.stack([test[:, i + 1 : i + 1 + STEPS] for i in first], axis=1).reshape(STARTS, STEPS, -1)
    print("\nvalid prediction time           time units    Lyapunov times")
    valid("persistence", dynamics.persistence(starts, STEPS), truth)
    for modes, degree in ((64, 1), (8, 2), (12, 2)):
        model = dynamics.PODRegression(min(modes, 63), degree, ridge=1e-6).fit(x)
        name = "DMD" if degree == 1 else f"POD-{modes}, quadratic"
        valid(name, model.rollout(starts, STEPS), truth)
        if degree == 2:
            print(f"    energy kept by POD-{modes}: {energy(test, model.reconstruct(test)):.3f} %")
    for seed in map(int, flags.FLAGS.seeds):
        begun = time.perf_counter()
        vae = trained_vae(x, seed, flags.FLAGS.vae if seed == int(flags.FLAGS.seeds[0]) else "")
        flat = test.reshape(-1, test.shape[-1])
        kept = energy(flat, vae.reconstruct(flat).numpy())
        print(f"seed {seed}: VAE-{LATENTS} keeps {kept:.4f} % of the energy ({time.perf_counter() - begun:.0f} s)")
        begun = time.perf_counter()
        model = trained_dynamics(vae, x, seed)
        valid(f"VAE-{LATENTS} + residual", model.rollout(starts, STEPS, samples=0)[0], truth)
        print(f"    transition: {time.perf_counter() - begun:.0f} s")
        codes = model.codes(test)
        moves = [np.linalg.norm(codes[:, k:] - codes[:, :-k], axis=-1).mean() for k in (1, 2, 4, 8)]
        print("    |z(t + k dt) - z(t)|, k = 1, 2, 4, 8:", " ".join(f"{move:.3f}" for move in moves))
        for lead in (1, 40):
            model.calibrate(validation, lead)
            ensemble = model.rollout(starts, 80, samples=50, seed=1, output="sample")
            shares = [f"{one.mean:.3f}" for one in dynamics.coverage(ensemble, truth[:, :80])]
            print(
                f"    90 % bands calibrated at step {lead} hold, at t = 0.25, 5, 20:", *(shares[i] for i in (0, 19, 79))
            )
        long = model.rollout(starts[:4], 4000, samples=0)[0]
        ratios = [
            a.mean / b.mean for a, b in zip(dynamics.spectrum(long[:, 400:]), dynamics.spectrum(test), strict=True)
        ]
        print("    spectrum of 1000 time units over that of the truth, wavenumber 1-20:")
        print("   ", " ".join(f"{ratio:.2g}" for ratio in ratios[1:21]), flush=True)


if __name__ == "__main__":
    app.run(main)

"""Kuramoto-Sivashinsky, length 22: a VAE of 8 latents with a transition on its codes, beside what has no VAE.

    python benchmarks/results/dynamics.py --seeds 0,1,2
    python benchmarks/results/dynamics.py --cylinder cylinder.npz  # benchmarks/results/wake.py, on a file of its own

Trains on trajectories of one seed, and forecasts from the first states of 64 others, which begin at other random waves
and share no state. Prints the energy that is kept, how far the code moves in k steps, the valid prediction time (error
above half of the field's root mean square) in time units and in Lyapunov times of 23.26 (exponent 0.043), the coverage
of 90 % bands, and the spectrum of a long roll-out. ± is the standard error over the starts; in the last row of the
table, over the seeds of the model.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time

import keras
import numpy as np
import wake
from absl import app, flags

import kvae
from kvae import dynamics

flags.DEFINE_list("seeds", ["0"], "Of the models.")
flags.DEFINE_integer("trajectories", 16, "For training, of 2500 states each.")
flags.DEFINE_integer("vae_epochs", 20, "Of the VAE.")
flags.DEFINE_integer("epochs", 30, "Of the transition, one step ahead.")
flags.DEFINE_integer("more_epochs", 8, "Of the transition, `horizon` steps ahead.")
flags.DEFINE_integer("horizon", 8, "Steps of time in the second training.")
flags.DEFINE_string("cylinder", "", "A file with the wake of a cylinder: forecast that instead.")

LATENTS, DT, LYAPUNOV_TIME, STEPS, STARTS = 8, 0.25, 23.26, 400, 64


def energy(x, reconstruction) -> float:
    """The share of the energy that is kept, in percent."""
    return 100.0 * (1.0 - np.sum(np.square(x - reconstruction)) / np.sum(np.square(x)))


def trained_vae(x, seed: int) -> kvae.VAE:
    """An MLP of two layers of 256, with the optimal scale."""
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((x.shape[-1],), LATENTS, hidden=(256, 256), activation="gelu")
    vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale="optimal"), seed=seed)
    flat = x.reshape(-1, x.shape[-1])
    epochs = flags.FLAGS.vae_epochs
    rate = keras.optimizers.schedules.CosineDecay(1e-3, epochs * (len(flat) // 128), alpha=1e-3)
    vae.compile(keras.optimizers.Adam(rate))
    vae.fit(flat, batch_size=128, epochs=epochs, verbose=0)
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


def row(name: str, mean: float, error: float) -> None:
    """Print a row of the table."""
    times = f"{mean / LYAPUNOV_TIME:.2f} ± {error / LYAPUNOV_TIME:.2f}"
    print(f"{name:28s} {mean:6.2f} ± {error:4.2f}   {times}", flush=True)


def valid(name: str, forecast, truth) -> float:
    """Print the valid prediction time, and return it."""
    found = dynamics.valid_prediction_time(forecast, truth, DT)
    row(name, found.mean, found.standard_error)
    return found.mean


def baselines(x, starts, truth) -> None:
    """What has no VAE: a linear map of all coordinates, and quadratic ones of some."""
    print("\nvalid prediction time          time units    Lyapunov times")
    valid("persistence", dynamics.persistence(starts, STEPS), truth)
    for modes, degree in ((63, 1), (8, 2), (10, 2), (12, 2), (16, 2)):
        model = dynamics.PODRegression(modes, degree, ridge=1e-6).fit(x)
        name = "DMD, 63 modes" if degree == 1 else f"POD-{modes}, quadratic"
        valid(name, model.rollout(starts, STEPS), truth)
        if degree == 2:
            print(f"    energy kept by POD-{modes}: {energy(truth, model.reconstruct(truth)):.3f} %")


def run(seed: int, x, validation, starts, truth) -> float:
    """Train and print all about one seed, and return the valid prediction time."""
    begun = time.perf_counter()
    vae = trained_vae(x, seed)
    flat = truth.reshape(-1, truth.shape[-1])
    kept = energy(flat, vae.reconstruct(flat).numpy())
    print(f"seed {seed}: VAE-{LATENTS} keeps {kept:.4f} % of the energy ({time.perf_counter() - begun:.0f} s)")
    begun = time.perf_counter()
    model = trained_dynamics(vae, x, seed)
    found = valid(f"VAE-{LATENTS} + residual", model.rollout(starts, STEPS, samples=0)[0], truth)
    print(f"    transition: {time.perf_counter() - begun:.0f} s; active units: {int(np.sum(model.active))}")
    codes = model.codes(truth)
    moves = [np.linalg.norm(codes[:, k:] - codes[:, :-k], axis=-1).mean() for k in (1, 2, 4, 8)]
    print("    |z(t + k dt) - z(t)|, k = 1, 2, 4, 8:", " ".join(f"{move:.3f}" for move in moves))
    for lead in (1, 40):
        model.calibrate(validation, lead)
        ensemble = model.rollout(starts, 80, samples=50, seed=1, output="sample")
        shares = [f"{one.mean:.3f}" for one in dynamics.coverage(ensemble, truth[:, :80])]
        print(f"    90 % bands calibrated at step {lead} hold, at t = 0.25, 5, 20:", *(shares[i] for i in (0, 19, 79)))
    long = model.rollout(starts[:4], 4000, samples=0)[0]
    pairs = zip(dynamics.spectrum(long[:, 400:]), dynamics.spectrum(truth), strict=True)
    ratios = [a.mean / b.mean for a, b in pairs]
    print("    spectrum of 1000 time units over that of the truth, wavenumber 1-20:")
    print("   ", " ".join(f"{ratio:.2g}" for ratio in ratios[1:21]))
    floor = sum(one.mean for one in dynamics.spectrum(long[:, 400:])[13:]) / np.mean(np.square(truth))
    true = sum(one.mean for one in dynamics.spectrum(truth)[13:]) / np.mean(np.square(truth))
    print(f"    noise floor, share of the energy in wavenumbers 13 and above: {floor:.1e}, of the truth {true:.1e}")
    return found


def main(_):
    """Print the tables."""
    if flags.FLAGS.cylinder:
        wake.run(flags.FLAGS.cylinder, [int(seed) for seed in flags.FLAGS.seeds])
        return
    begun = time.perf_counter()
    x = dynamics.flows.kuramoto_sivashinsky(flags.FLAGS.trajectories, 2500, dt=DT, seed=0)
    validation = dynamics.flows.kuramoto_sivashinsky(4, 1000, dt=DT, seed=2)
    test = dynamics.flows.kuramoto_sivashinsky(STARTS, STEPS + 1, dt=DT, seed=1)
    starts, truth = test[:, 0], test[:, 1:]
    print(f"data: {time.perf_counter() - begun:.0f} s")
    baselines(x, starts, truth)
    found = np.array([run(int(seed), x, validation, starts, truth) for seed in flags.FLAGS.seeds])
    if len(found) > 1:
        row(f"VAE-{LATENTS}, {len(found)} seeds", found.mean(), found.std(ddof=1) / np.sqrt(len(found)))
    print(f"{time.perf_counter() - begun:.0f} s in all; kvae {kvae.__version__}, keras {keras.__version__}")


if __name__ == "__main__":
    app.run(main)

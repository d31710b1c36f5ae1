"""The wake of a cylinder at Re = 100: a VAE of a few latents with a transition, beside what has no VAE.

`benchmarks/results/dynamics.py --cylinder FILE` calls it. The file has base `[2, ny, nx]`, modes `[m, 2, ny, nx]`,
coeff `[T, m]` and mask `[ny, nx]`, True inside of the cylinder; the states are base + coeff modes, 0.1 apart, from the
steady flow to the shedding of vortices. Every fourth point of each axis outside of the cylinder is taken, less the mean
of the training part and over its deviation. The first part trains, a part for calibration follows, and forecasts start
in the rest; between the parts are gaps.
"""

import time

import keras
import numpy as np

import kvae
from kvae import dynamics

DT, STRIDE = 0.1, 4
TRAIN, VALIDATION, TEST = slice(0, 1900), slice(1950, 2300), slice(2350, 3000)  # gaps of 50 states
CYCLE = slice(1300, 1900)  # the end of the training part, without the transient: for baselines that know where it ends
STEPS, EVERY, LATENTS, HORIZON, SAMPLES = 280, 40, 4, 16, 100  # 280 states are five periods
LEADS = (1, 10, 56, 112, 280)  # of the error; from the third on, whole periods
LEVEL = 0.9  # of the bands


def states(path: str) -> np.ndarray:
    """The fields `[T, points]`, standardised by the training part."""
    file = np.load(path)
    base, modes = (file[name][..., ::STRIDE, ::STRIDE] for name in ("base", "modes"))
    fields = base + np.einsum("ti,icyx->tcyx", file["coeff"], modes)
    flat = fields[:, :, ~file["mask"][::STRIDE, ::STRIDE]].reshape(len(fields), -1)
    return ((flat - flat[TRAIN].mean(axis=0)) / flat[TRAIN].std()).astype(np.float32)


def trained(x: np.ndarray, seed: int) -> dynamics.Dynamics:
    """A VAE, a transition one step ahead and then several, and bands by the calibration part."""
    keras.utils.set_random_seed(seed)
    networks = kvae.networks.mlp((x.shape[-1],), LATENTS, hidden=(128, 64), activation="gelu")
    vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale="optimal"), seed=seed)
    batches, epochs = len(x[TRAIN]) // 100, 300
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, epochs * batches, alpha=1e-3)))
    vae.fit(x[TRAIN], batch_size=100, epochs=epochs, verbose=0)
    one = dynamics.Dynamics(vae, "residual", seed=seed)
    one.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 200 * 18)))
    one.fit(x[None, TRAIN], batch_size=100, epochs=200, verbose=0)
    many = dynamics.Dynamics(vae, one.network, horizon=HORIZON, seed=seed)
    many.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-4, 150 * 18)))
    many.fit(x[None, TRAIN], batch_size=100, epochs=150, verbose=0)
    many.calibrate(x[None, VALIDATION])
    one_step, low, high = np.asarray(many.variance), -3.0, 3.0
    for _ in range(8):  # the factor of s with which 90 % bands hold 90 % of the calibration part, over all steps
        middle = (low + high) / 2.0
        many.variance.assign(np.exp(2.0 * middle) * one_step)
        low, high = (low, middle) if shares(many, x[VALIDATION]).mean() > LEVEL else (middle, high)
    print(f"    s for the bands is {np.exp(middle):.2f} times that of a step")
    return many


def windows(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts, and the states that follow each."""
    first = np.arange(0, len(part) - STEPS, EVERY)
    return part[first], np.stack([part[i + 1 : i + 1 + STEPS] for i in first])


def shares(model: dynamics.Dynamics, part: np.ndarray) -> np.ndarray:
    """The share of values inside the bands of the decoded means, by step; of every fourth value."""
    found = []
    for start, truth in zip(*windows(part), strict=True):
        ensemble = model.rollout(start[None], STEPS, SAMPLES, seed=1)[..., ::4]
        found.append([one.mean for one in dynamics.coverage(ensemble, truth[None, :, ::4], LEVEL)])
    return np.mean(found, axis=0)


def run(path: str, seeds: list[int]) -> None:
    """Print the tables."""
    begun = time.perf_counter()
    x = states(path)
    starts, truth = windows(x[TEST])
    print(f"{x.shape[1]} values a state; {len(starts)} starts {EVERY} states apart, forecasts of {STEPS}: they overlap")
    place = int(np.argmax(truth.std(axis=(0, 1))))  # where it moves most
    own = dynamics.frequency(truth[:, :, place], DT).mean, dynamics.amplitude(truth[:, :, place]).mean
    print(f"the data: Strouhal number {own[0]:.5f}, amplitude {own[1]:.4f} where it moves most")
    print("\nerror after steps            " + "".join(f"{lead:>16d}" for lead in LEADS) + "    frequency  amplitude")
    report("persistence", dynamics.persistence(starts, STEPS), truth, place, None)
    for modes, degree, part in (
        (LATENTS, 1, TRAIN), (9, 1, TRAIN), (9, 1, CYCLE), (LATENTS, 2, TRAIN), (9, 2, TRAIN), (9, 2, CYCLE)
    ):  # fmt: skip
        model = dynamics.PODRegression(modes, degree, ridge=1e-8 if degree == 2 else 0.0).fit(x[None, part])
        name = f"DMD, {modes} modes" if degree == 1 else f"POD-{modes}, quadratic"
        name += ", cycle" if part is CYCLE else ""
        report(name, model.rollout(starts, STEPS), truth, place, own)
        if degree == 2 and part is TRAIN:
            report(f"POD-{modes} alone, no forecast", model.reconstruct(truth), truth, place, own)
    for seed in seeds:
        model = trained(x, seed)
        report(f"seed {seed}: VAE-{LATENTS} alone", reconstructed(model.vae, truth), truth, place, own)
        report(f"seed {seed}: VAE-{LATENTS}, residual", model.rollout(starts, STEPS, samples=0)[0], truth, place, own)
        inside = shares(model, x[TEST])
        at = " ".join(f"{inside[lead - 1]:.3f}" for lead in LEADS)
        print(f"    90 % bands hold {inside.mean():.3f} over all steps; after {LEADS}: {at}")
        print(f"    active units: {int(np.sum(model.active))} of {LATENTS}", flush=True)
    print(f"{time.perf_counter() - begun:.0f} s in all; kvae {kvae.__version__}, keras {keras.__version__}")


def reconstructed(vae, truth) -> np.ndarray:
    """What the VAE alone gives for the true states."""
    return vae.reconstruct(truth.reshape(-1, truth.shape[-1])).numpy().reshape(truth.shape)


def report(name: str, forecast, truth, place: int, own) -> None:
    """Print a row: errors by lead, and frequency and amplitude less the data's own, in percent."""
    forecast = np.nan_to_num(np.clip(forecast, -1e3, 1e3), nan=1e3)
    errors = dynamics.forecast_error(forecast, truth)
    cells = "".join(f"{errors[lead - 1].mean:8.4f} ± {errors[lead - 1].standard_error:.3f}" for lead in LEADS)
    cycle = ""
    if own is not None:
        series = forecast[:, :, place]
        try:
            turns = f"{100 * (dynamics.frequency(series, DT).mean / own[0] - 1):+10.3f} %"
        except ValueError:
            turns = "      none  "
        cycle = f"{turns} {100 * (dynamics.amplitude(series).mean / own[1] - 1):+8.2f} %"
    print(f"{name:29s}{cells} {cycle}", flush=True)

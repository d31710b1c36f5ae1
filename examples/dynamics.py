"""Learn how a field moves: a VAE, a transition on its codes, and forecasts with bands beside the baselines.

    python examples/dynamics.py                                        # Kuramoto-Sivashinsky, about two minutes
    python examples/dynamics.py --flow advection --latent_dim 6 --transition linear --horizon 1

Of the trajectories, an eighth is for validation, and an eighth for the test. The table has the error of forecasts at
some leads, in units of the field's deviation, and the share of values inside the 90 % bands of an ensemble. The model
goes to <output>/model.keras, its SavedModel to <output>/saved_model/<version>, the figures and a film of a forecast
beside them.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
from absl import app, flags


@dataclasses.dataclass
class Config:
    """What the flags say."""

    flow: str = "kuramoto_sivashinsky"
    trajectories: int = 256
    steps: int = 160
    latent_dim: int = 8
    transition: str = "residual"
    horizon: int = 4
    vae_epochs: int = 20
    epochs: int = 15
    lead: int = 40
    samples: int = 50
    seed: int = 0
    output: str = "runs/dynamics"
    verbose: int = 1


CHOICES = {
    "flow": ["heat", "advection", "burgers", "kuramoto_sivashinsky", "lorenz96", "oscillator"],
    "transition": ["linear", "residual", "gru"],
}
LEAST = {"trajectories": 8, "steps": 20, "samples": 2, "seed": 0, "verbose": 0}
HELP = {
    "flow": "Which equation.",
    "trajectories": "How many.",
    "steps": "States of each.",
    "latent_dim": "Latents of the VAE.",
    "transition": "What moves the codes.",
    "horizon": "Steps ahead in training.",
    "vae_epochs": "Passes over the states.",
    "epochs": "Passes over the windows of codes.",
    "lead": "Steps ahead at which the bands are calibrated.",
    "samples": "Paths of the ensemble.",
    "seed": "Of data, weights and noise.",
    "output": "A folder.",
    "verbose": "0 is silent, 1 shows bars.",
}


def run(config: Config) -> dict[str, list]:
    """Train, forecast, print and save; name to `Estimate` by lead."""
    command_line.check_writable(config.output)
    import keras

    import kvae
    from kvae import dynamics

    keras.utils.set_random_seed(config.seed)
    x = getattr(dynamics.flows, config.flow)(config.trajectories, config.steps, seed=config.seed)
    part = max(2, config.trajectories // 8)
    train, validation, test = x[: -2 * part], x[-2 * part : -part], x[-part:]
    states = train.reshape(-1, x.shape[-1])
    networks = kvae.networks.mlp((x.shape[-1],), config.latent_dim, hidden=(256, 256), activation="gelu")
    vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale="optimal"), seed=config.seed)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, config.vae_epochs * (-(-len(states) // 128)), alpha=1e-2)
    vae.compile(keras.optimizers.Adam(rate))
    vae.fit(states, batch_size=128, epochs=config.vae_epochs, verbose=config.verbose)
    model = dynamics.Dynamics(vae, config.transition, horizon=config.horizon, seed=config.seed)
    best = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    model.fit(train, epochs=config.epochs, verbose=config.verbose, validation_data=validation, callbacks=[best])
    model.calibrate(validation, min(config.lead, config.steps // 2))

    steps = config.steps - 1
    starts, truth = test[:, 0], test[:, 1:]
    modes = min(config.latent_dim, x.shape[-1])
    forecasts = {
        "Dynamics": model.rollout(starts, steps, samples=0)[0],
        "persistence": dynamics.persistence(starts, steps),
        f"DMD, {modes} modes": dynamics.PODRegression(modes, 1).fit(train).rollout(starts, steps),
        f"POD-{modes}, quadratic": dynamics.PODRegression(modes, 2, ridge=1e-6).fit(train).rollout(starts, steps),
    }
    ensemble = model.rollout(starts, steps, samples=config.samples, seed=config.seed, output="sample")
    leads = [lead for lead in (1, 2, 5, 10, 20, 50, 100, 200, 500) if lead <= steps]
    found = {name: _error(forecast, truth) for name, forecast in forecasts.items()}
    bands = dynamics.coverage(ensemble, truth)
    print("error after steps".ljust(24), *(f"{lead:>14d}" for lead in leads))
    for name, errors in found.items():
        cells = [f"{errors[lead - 1].mean:.3f} ± {errors[lead - 1].standard_error:.3f}" for lead in leads]
        print(name.ljust(24), *(f"{cell:>14s}" for cell in cells))
    cells = [f"{bands[lead - 1].mean:.3f} ± {bands[lead - 1].standard_error:.3f}" for lead in leads]
    print("inside 90 % bands".ljust(24), *(f"{cell:>14s}" for cell in cells))
    if config.transition == "linear":
        print("eigenvalues:", *(f"{value:.4f}" for value in model.eigenvalues()))
    os.makedirs(config.output, exist_ok=True)
    draw(config, model, test, forecasts["Dynamics"], found, bands)
    model.save(os.path.join(config.output, "model.keras"))
    path = model.export(kvae.export.next_version(os.path.join(config.output, "saved_model")), steps=steps)
    print(f"Wrote {config.output}/model.keras and {path}.")
    return found | {"bands": bands}


def draw(config: Config, model, test, forecast, errors: dict, bands: list) -> None:
    """Write the figures, and a film of the first forecast."""
    from kvae import dynamics, plots

    shown = min(config.steps - 1, 100)
    true_codes = model.codes(test[:1])[0, 1:]
    path = model.rollout(test[:1, 0], config.steps - 1, samples=0, output="codes")[0, 0]
    ensemble = model.rollout(test[:1, 0], config.steps - 1, config.samples, config.seed, "codes")[:, 0]
    figures = {
        "errors": plots.forecast_errors(errors, coverage=bands),
        "codes": plots.code_paths(ensemble, true_codes),
        "moves": plots.code_moves(model.codes(test), min(16, config.steps // 2)),
        "spectrum": plots.spectra({"truth": dynamics.spectrum(test), "forecast": dynamics.spectrum(forecast)}),
    }
    film = plots.film(test[0, 1 : shown + 1], forecast[0, :shown], path[:shown], true_codes[:shown])
    command_line.write_figures(config.output, figures, {"film": film})


def _error(forecast, truth) -> list:
    """By lead; a baseline that leaves the finite numbers counts there with the largest one that is useful."""
    import numpy as np

    from kvae import dynamics

    return dynamics.forecast_error(np.nan_to_num(np.clip(forecast, -1e3, 1e3), nan=1e3), truth)


def main(argv):
    """Read the flags and run."""
    values = flags.FLAGS.flag_values_dict()
    config = Config(**{field.name: values[field.name] for field in dataclasses.fields(Config)})
    command_line.start(argv, lambda: run(config))


if __name__ == "__main__":
    for field in dataclasses.fields(Config):
        if field.name in CHOICES:
            flags.DEFINE_enum(field.name, field.default, CHOICES[field.name], HELP[field.name])
        elif isinstance(field.default, int):
            flags.DEFINE_integer(field.name, field.default, HELP[field.name], lower_bound=LEAST.get(field.name, 1))
        else:
            flags.DEFINE_string(field.name, field.default, HELP[field.name])
    app.run(main)

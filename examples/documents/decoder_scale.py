"""The scale of a normal decoder on the digits: fixed at 1, tuned, learned, in closed form, and for every pixel.

    python examples/documents/decoder_scale.py  # three seeds, two minutes or more each

Dequantised grey digits, 1,350 to train, 150 for validation, 297 to test; MLP 64-200-200, 10 latents; Adam 1e-3,
batch 128, early stopping by the validation ELBO. All numbers are log-densities of the same x, nats per image, so they
compare.

"tuned" is the beta-VAE with squared errors. With s = 1 the weight beta of the KL term and with s^2 = beta a weight of 1
have the same optimum (Rybkin, Daniilidis, Levine 2021), so it is a fixed s, chosen by the validation ELBO. "learned"
trains s with the rest from s = 1 (Lin et al. 2019): for up to ten times as many epochs, since s moves by about the
learning rate in a step. "optimal" has it in closed form. "local" has a scale for every pixel, in the three stages of
docs/training.md, with the floor among 0.03, 0.05 and 0.08 that is calibrated best on the validation part. Calibration
is the mean of (x - mean)^2 / scale^2 at z from q(z|x): 1 where the scales are right.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import command_line
import numpy as np
from absl import app, flags

TUNED = (0.03, 0.1, 0.2, 0.3, 0.5)  # s, so that beta is 0.0009 to 0.25
FLOORS = (0.03, 0.05, 0.08)


def model(data, scale, floor: float = 1e-3, rate: float = 1e-3):
    """A VAE of the digits with that kind of scale."""
    import keras

    import kvae

    networks = kvae.networks.mlp(data.event_shape, latent_dim=10, hidden=(200, 200))
    vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale, floor=floor))
    vae.compile(optimizer=keras.optimizers.Adam(rate))
    return vae


def fit(vae, data, epochs: int):
    """Train until the validation ELBO has not risen for ten epochs."""
    import keras

    stop = keras.callbacks.EarlyStopping("val_elbo", mode="max", patience=10, restore_best_weights=True)
    vae.fit(data.train, validation_data=data.validation, epochs=epochs, callbacks=[stop], verbose=0)
    return vae


def localized(first, data, floor: float, epochs: int):
    """Stages two and three: the scales with the means held fast, then both."""
    import keras

    vae = model(data, "local", floor)
    for part in ("encoder", "decoder", "posterior"):
        getattr(vae, part).set_weights(getattr(first, part).get_weights())
    vae.likelihood.projection.set_weights(first.likelihood.projection.get_weights())
    for trainable, rate, most in ((False, 1e-3, epochs), (True, 1e-4, round(0.3 * epochs))):
        for part in (vae.encoder, vae.decoder, vae.posterior, vae.likelihood.projection):
            part.trainable = trainable
        vae.compile(optimizer=keras.optimizers.Adam(rate))
        fit(vae, data, most)
    return vae


def calibration(vae, split) -> float:
    """The mean of (x - mean)^2 / scale^2 over a split."""
    p = vae.decode(vae.terms(split).z[0])
    return float(((split.x - p.mean()) ** 2 / p.variance()).numpy().mean())


def elbo(vae, split) -> float:
    """The one-sample ELBO, nats per image."""
    return vae.evaluate(split, verbose=0, return_dict=True)["elbo"]


def measured(vae, data, choice: str) -> dict:
    """What the table says of a model."""
    errors = np.square(data.test.x - vae.reconstruct(data.test.x).numpy())
    return {
        "choice": choice,
        "validation": elbo(vae, data.validation),
        "test": elbo(vae, data.test),
        "kl": vae.evaluate(data.test, verbose=0, return_dict=True)["kl"],
        "error": float(np.sqrt(errors.mean())),
        "calibration": calibration(vae, data.test),
    }


def scale_of(vae) -> str:
    """The one scale that a model has."""
    return f"s = {float(vae.decode(np.zeros((1, vae.latent_dim), np.float32)).stddev().numpy().ravel()[0]):.3f}"


def compared(data, seed: int, epochs: int) -> dict[str, tuple]:
    """Names to (model, what was chosen) for one seed."""
    import keras

    def seeded(scale, epochs=epochs):
        keras.utils.set_random_seed(seed)
        return fit(model(data, scale), data, epochs)

    found = {"s = 1": (seeded(1.0), "s = 1")}
    tried = {scale: seeded(scale) for scale in TUNED}
    best = max(tried, key=lambda scale: elbo(tried[scale], data.validation))
    found["tuned"] = tried[best], f"s = {best:g}, beta = {best**2:.2g}"
    for kind, most in (("learned", 10 * epochs), ("optimal", epochs)):
        vae = seeded(kind, most)
        found[kind] = vae, scale_of(vae)
    local = {floor: localized(found["optimal"][0], data, floor, epochs) for floor in FLOORS}
    floor = min(local, key=lambda floor: abs(calibration(local[floor], data.validation) - 1.0))
    found["local"] = local[floor], f"floor {floor:g}, validation {calibration(local[floor], data.validation):.3f}"
    return found


def figure_of(vae, x):
    """Test digits, and below them the means and the scales of a local model, both from 0 to their largest."""
    from kvae import plots

    p = vae.decode(vae.terms(x).z[0])
    scales = p.stddev().numpy()
    return plots.grid(
        np.concatenate([x, np.clip(p.mean().numpy(), 0.0, 1.0), scales / scales.max()]), len(x),
        f"digits, their means, and the scales of the pixels (black: {scales.max():.2f})", 0.0, 1.0, ink=True,
    )  # fmt: skip


def run(seeds=3, epochs=100, output="runs/documents/decoder_scale") -> list[dict]:
    """Train, print and draw; return a row for each seed and scale. The arguments are the flags."""
    command_line.check_writable(output)
    import kvae

    data, started = kvae.data.load("digits", dequantize=True), time.time()
    print(
        "| seed | scale | chosen or found | validation ELBO | test ELBO | KL | root mean square error | calibration |"
    )
    print("|---:|---|---|---:|---:|---:|---:|---:|", flush=True)
    rows = []
    for seed in range(seeds):
        models = compared(data, seed, epochs)
        for name, (vae, choice) in models.items():
            row = measured(vae, data, choice)
            rows.append({"seed": seed, "scale": name} | row)
            numbers = f"{row['validation']:.2f} | {row['test']:.2f} | {row['kl']:.2f} | {row['error']:.4f}"
            print(f"| {seed} | {name} | {choice} | {numbers} | {row['calibration']:.3f} |", flush=True)
    print(f"{time.time() - started:.0f} s")
    path = Path(output) / "scales.png"
    figure = figure_of(models["local"][0], data.test.x[:10])
    command_line.write_whole(path, lambda file: figure.savefig(file, dpi=110))
    print(f"Wrote {path}.")
    return rows


def _define_flags():
    flags.DEFINE_integer("seeds", 3, "how many", lower_bound=1)
    flags.DEFINE_integer("epochs", 100, "passes over the digits at most, in each stage", lower_bound=1)
    flags.DEFINE_string("output", "runs/documents/decoder_scale", "the folder of the figure")


def main(argv):
    """Read the flags and run."""
    command_line.call(argv, run)


if __name__ == "__main__":
    _define_flags()
    app.run(main)

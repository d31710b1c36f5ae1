"""Calibration of a local scale on the digits: the mean of (x - mean)^2 / scale^2 at z ~ q(z|x), 1 where it is right.

    python benchmarks/results/local_scale.py  # three seeds, two minutes

The recipe of docs/training.md with early stopping, for several floors of the scale; the floor is chosen by the
calibration on the validation part, and the test part says how good that is. Dequantised digits, density per image.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time

import keras

import kvae


def model(data, scale, floor: float, rate: float = 1e-3) -> kvae.VAE:
    """A VAE of the digits with that kind of scale."""
    networks = kvae.networks.mlp(data.event_shape, latent_dim=10, hidden=(200, 200))
    vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale, floor=floor))
    vae.compile(optimizer=keras.optimizers.Adam(rate))
    return vae


def fit(vae, data, epochs: int) -> None:
    """Train until the validation ELBO has not risen for ten epochs."""
    stop = keras.callbacks.EarlyStopping("val_elbo", mode="max", patience=10, restore_best_weights=True)
    vae.fit(data.train, validation_data=data.validation, epochs=epochs, callbacks=[stop], verbose=0)


def localized(first, data, floor: float) -> kvae.VAE:
    """Stages two and three: the scales with the means held fast, then both."""
    vae = model(data, "local", floor)
    for part in ("encoder", "decoder", "posterior"):
        getattr(vae, part).set_weights(getattr(first, part).get_weights())
    vae.likelihood.projection.set_weights(first.likelihood.projection.get_weights())
    for trainable, rate, epochs in ((False, 1e-3, 100), (True, 1e-4, 30)):
        for part in (vae.encoder, vae.decoder, vae.posterior, vae.likelihood.projection):
            part.trainable = trainable
        vae.compile(optimizer=keras.optimizers.Adam(rate))
        fit(vae, data, epochs)
    return vae


def calibration(vae, split) -> float:
    """The mean of (x - mean)^2 / scale^2 over a split."""
    p = vae.decode(vae.terms(split).z[0])
    return float(((split.x - p.mean()) ** 2 / p.variance()).numpy().mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    started = time.time()
    data = kvae.data.load("digits", dequantize=True)
    print("| seed | floor | calibration: validation | test | test, one scale | test ELBO, one scale | local |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for seed in range(options.seeds):
        keras.utils.set_random_seed(seed)
        first = model(data, "optimal", 1e-3)
        fit(first, data, 100)
        tried = {floor: localized(first, data, floor) for floor in (0.03, 0.05, 0.08)}
        floor = min(tried, key=lambda floor: abs(calibration(tried[floor], data.validation) - 1.0))
        vae = tried[floor]
        ratios = [calibration(vae, data.validation), calibration(vae, data.test), calibration(first, data.test)]
        elbos = [m.evaluate(data.test, return_dict=True, verbose=0)["elbo"] for m in (first, vae)]
        columns = [f"{r:.3f}" for r in ratios] + [f"{e:.2f}" for e in elbos]
        print(f"| {seed} | {floor} | {' | '.join(columns)} |", flush=True)
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()

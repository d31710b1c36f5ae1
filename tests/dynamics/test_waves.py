"""A wave that travels: two latents where linear modes need many, and a short step is a short move."""

import keras
import numpy as np
import pytest

import kvae
from kvae.dynamics import PODRegression, flows

WAVE = {"modes": 6, "points": 64, "seed": 0}


@pytest.mark.slow
def test_two_latents_are_ten_times_as_good_as_two_modes():
    """benchmarks/results/travelling_wave.py has the full measurement."""
    x, test = flows.advection(1, 400, dt=0.05, **WAVE), flows.advection(1, 500, dt=0.0271, **WAVE)
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp((64,), 2, hidden=(128, 128), activation="gelu")
    vae = kvae.VAE(*networks, likelihood=kvae.likelihoods.Normal(scale="optimal"))
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, 600 * 8, alpha=1e-3)))
    vae.fit(x[0], batch_size=50, epochs=600, verbose=0)

    def error(reconstruction):
        return np.sqrt(np.mean(np.square(reconstruction - test)))

    assert error(vae.reconstruct(test[0]).numpy()) < 0.1 * error(PODRegression(2, 1).fit(x).reconstruct(test))
    z = vae.encode(test[0]).mean().numpy()
    moves = np.array([np.linalg.norm(z[k:] - z[:-k], axis=-1).mean() for k in (1, 2, 4)])
    np.testing.assert_allclose(moves / moves[0], [1, 2, 4], rtol=0.05)

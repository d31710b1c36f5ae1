"""Small models and rows whose distribution is known."""

import functools

import keras
import numpy as np

import kvae

LOADINGS = np.random.default_rng(7).normal(size=(2, 6))


def rows(n: int, seed: int, strange: bool = False) -> np.ndarray:
    """Of two factors and noise, float32 `[n, 6]`; strange ones are as wide, without the factors."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(n, 2)) @ LOADINGS
    if strange:
        factors = random.normal(size=(n, 6)) * np.sqrt(np.square(LOADINGS).sum(axis=0))
    return (factors + 0.3 * random.normal(size=(n, 6))).astype(np.float32)


@functools.cache
def vae() -> kvae.VAE:
    """Trained on `rows(500, 0)`, which no one keeps."""
    keras.utils.set_random_seed(0)
    model = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(8,)), likelihood=kvae.likelihoods.Normal("learned"))
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    model.fit(rows(500, 0), epochs=20, verbose=0)
    return model

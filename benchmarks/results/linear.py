"""The linear VAE against probabilistic PCA: how "learned" and "optimal" scales get there.

    python benchmarks/results/linear.py  # about three minutes

Digits / 16 (1,797 x 64), 10 latents, hidden=(), full batch, Adam with a cosine rate from 1e-2, seed 0. Prints log p(x)
by importance sampling with 200 draws, and the variance reached; the exact optimum is 17.451947 nats at 0.022751.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import math
import time

import keras
from sklearn.datasets import load_digits

import kvae


def run(scale: str, start: float | None, steps: int) -> str:
    """Train from a scale of `start` (None for the likelihood's own) and describe what is reached."""
    x = (load_digits().data / 16).astype("float32")
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((64,), 10, hidden=()), likelihood=kvae.likelihoods.Normal(scale=scale))
    if start is not None:
        vae.likelihood.raw_scale.assign(math.log(math.expm1(start - vae.likelihood.floor)))
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, steps, alpha=1e-3)))
    begun = time.perf_counter()
    vae.fit(x, batch_size=len(x), epochs=steps, verbose=0)
    seconds = time.perf_counter() - begun
    reached = kvae.evaluate.log_likelihood(vae, x, samples=200)
    variance = float(vae.decode([[0.0] * 10]).variance()[0, 0])
    return f"log p(x) {reached.mean:.4f} (draws ± {reached.monte_carlo_error:.4f}), s^2 {variance:.6f}, {seconds:.0f} s"


def main():
    rows = (("learned", None, 3000), ("learned", 0.27, 3000), ("optimal", None, 3000), ("optimal", None, 9000))
    for scale, start, steps in rows:
        print(f"{scale:8s} start {start or 'its own'!s:8s} {steps} steps: {run(scale, start, steps)}", flush=True)


if __name__ == "__main__":
    main()

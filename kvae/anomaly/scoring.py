"""Scores of rows, higher for stranger ones: functions of x up to rounding, in a graph, in any batch and when served."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kvae.data import inputs
from kvae.models import resolve
from kvae.models.importance import importance_weighted
from kvae.numerics import arguments, divergences, noise
from kvae.numerics.compilation import compiled

SCORES = ("log_likelihood", "elbo", "reconstruction", "typicality")


class Scorer:
    """What a `Detector` computes of its model.

    Every row gets the same noise. So a score is a function of x, as the guarantee needs it, to rounding: equal rows
    have scores that tie (`kvae.anomaly.conformal.limits`).

    Args:
        vae: a `kvae.VAE`.
        score: one of `SCORES`.
        samples, seed: of the draws of z.
    """

    def __init__(self, vae, score: str, samples: int, seed: int):
        self.score = arguments.choice("score", score, SCORES)
        self.samples, self.seed = arguments.whole("samples", samples, 1), arguments.seed(seed)
        resolve.check_model(vae)
        if self.score != "reconstruction":
            resolve.check_density(vae, f"score={self.score!r}")
        self.vae = vae
        posterior = vae.posterior
        rows = self.samples if posterior.noise_size else 1  # without noise all draws are equal
        self._rows = rows
        self._eps = noise.normal(
            self.seed, noise.IMPORTANCE, 0, rows, posterior.noise_size, posterior.compute_dtype
        ).numpy()

    def of(self, data) -> np.ndarray:
        """The scores of a data set before typicality's center is taken off, float64 `[N]`."""
        found = [part.numpy() for part in self._batches(data, "score", self.of_batch)]
        return np.concatenate(found).astype(np.float32).astype(np.float64)  # as they are served

    def elements(self, data) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """-log p(x_e | E q(z|x)) of each element in nats, 0 where it is masked, and the mask: batch by batch."""
        for each, mask in self._batches(data, "elements", self._elements_of_batch):
            yield each.numpy().astype(np.float64), mask.numpy()

    def _batches(self, data, name: str, method) -> Iterator:
        key = ("kvae.anomaly", name, self.score, self.samples, self.seed)
        function = self.vae.methods.get(key, lambda: compiled(method, jit=False))
        for examples in inputs.batches(data, self.vae.likelihood, self.vae.condition_shape):
            yield function(self.vae.prepared(examples))

    def of_batch(self, batch) -> tf.Tensor:
        """The scores of a batch that is `prepared`, `[B]`; infinite where a term is NaN or infinite."""
        vae = self.vae
        q = vae.posterior_distribution(batch)
        if self.score == "reconstruction":
            found = vae.likelihood.log_prob(self._decoded(q, batch), batch.x, batch.mask)
        else:
            eps = tf.constant(self._eps)

            def draws(first, count):  # the last part may reach beyond the end
                rows = tf.gather(eps, tf.minimum(first + tf.range(count), self._rows - 1))
                return tf.tile(rows[None], [tf.shape(batch.x)[0], 1, 1])

            weighted = importance_weighted(vae, batch, q, draws, self._rows)
            found = weighted.log_likelihood
            if self.score == "elbo":
                kl = divergences.kl(q, vae.prior_distribution(batch.condition))
                found = weighted.reconstruction - (weighted.kl if kl is None else kl)
        return tf.where(tf.math.is_finite(found), -found, tf.constant(np.inf, found.dtype))

    def _elements_of_batch(self, batch) -> tuple[tf.Tensor, tf.Tensor]:
        vae = self.vae
        p = self._decoded(vae.posterior_distribution(batch), batch)
        each = -p.distribution.log_prob(batch.x)
        mask = tf.ones_like(each, tf.bool) if batch.mask is None else batch.mask
        return tf.where(mask, each, tf.zeros_like(each)), mask

    def _decoded(self, q, batch):
        """p(x | E q(z|x))."""
        return self.vae.likelihood.distribution(self.vae.decode_features(self.vae.posterior.center(q), batch.condition))

"""The KL term in three parts, with a weight each."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from kvae.numerics.arguments import number, whole
from kvae.objectives.base import Objective
from kvae.objectives.weights import Weight


@keras.saving.register_keras_serializable("kvae")
class TotalCorrelation(Objective):
    """The beta-TCVAE of Chen et al. (2018), with the total correlation of the codes weighed by beta.

    loss = -E_q log p(x|z) + alpha I + beta T + gamma K

    With q(z) = E_data q(z|x), the law of all codes together, these are the mutual information of x and z,
    I = E [log q(z|x) - log q(z)], the total correlation T = E [log q(z) - sum_j log q(z_j)], and
    K = E [sum_j log q(z_j) - log p(z)], the KL divergence of the dimensions one by one where the prior factorises, too.
    Together they are the KL term: with alpha = beta = gamma = 1 the loss is `ELBO(kl="monte_carlo")`.

    q(z) and q(z_j) are estimated from the batch. Of the B examples the one that z was drawn for weighs 1 / N and each
    other one (N - 1) / (N (B - 1)), N being the size of the training data. These densities are unbiased for a batch
    that is drawn without replacement. (It is the stratified sampling of the paper, averaged over the order of the
    batch.) Their logarithms are biased, the more the smaller the batch. So I and T, which are logged as
    `mutual_information` and `total_correlation`, are no measurements. The loss of an example depends on its batch; the
    reported elbo, reconstruction and kl do not.

    Args:
        beta: the weight of T, at least 0, or a schedule, see `ELBO`.
        alpha, gamma: the weights of I and K, at least 0.
        dataset_size: N, at least 2; None takes the batch for the data, N = B.
        samples: how many z to draw for each example, at least 1.

    It needs a posterior whose dimensions are normal and independent, as `diagonal_normal` is. Memory grows with
    samples B^2 D.

    Reference: Chen, Li, Grosse, Duvenaud (2018), Isolating sources of disentanglement in VAEs, arXiv 1802.04942.
    """

    needs_pairs = True

    def __init__(
        self, beta: float | Callable = 6.0, alpha: float = 1.0, gamma: float = 1.0, dataset_size: int | None = None,
        samples: int = 1,
    ):  # fmt: skip
        self.weights = {"beta": Weight("TotalCorrelation", "beta", beta)}
        self.alpha, self.gamma = number("alpha", alpha, least=0.0), number("gamma", gamma, least=0.0)
        self.dataset_size = None if dataset_size is None else whole("dataset_size", dataset_size, 2)
        self.samples = whole("samples", samples, 1)

    def loss(self, terms, step):
        """-E_q log p(x|z) + alpha I + beta T + gamma K, `[B]`."""
        information, correlation, one_by_one = self.parts(terms)
        beta = tf.cast(self.weights["beta"](step), correlation.dtype)
        divergence = self.alpha * information + beta * correlation + self.gamma * one_by_one
        return divergence - tf.reduce_mean(terms.log_px_z, axis=0)

    def parts(self, terms):
        """The estimates of I, T and K, each `[B]`; their sum is the mean of log q(z|x) - log p(z) over the samples."""
        pairs = self.needed(terms, "log_qz_pairs")  # [S, B, B, D]
        weight = self._log_weights(tf.shape(pairs)[1], pairs.dtype)
        together = tf.reduce_logsumexp(tf.reduce_sum(pairs, axis=-1) + weight, axis=2)  # log q(z), [S, B]
        each = tf.reduce_sum(tf.reduce_logsumexp(pairs + weight[..., None], axis=2), axis=-1)  # sum_j log q(z_j)
        parts = terms.log_qz_x - together, together - each, each - terms.log_pz
        return tuple(tf.reduce_mean(part, axis=0) for part in parts)

    def _log_weights(self, rows, dtype):
        """The logarithm of the weight of example j where z was drawn for example i, `[B, B]`."""
        size = tf.cast(rows, dtype)
        if self.dataset_size is None:
            return tf.fill([rows, rows], -tf.math.log(size))
        n = float(self.dataset_size)
        other = math.log((n - 1.0) / n) - tf.math.log(tf.maximum(size - 1.0, 1.0))
        return tf.linalg.set_diag(tf.fill([rows, rows], other), tf.fill([rows], tf.constant(-math.log(n), dtype)))

    def trackers(self):
        """I and T."""
        return {name: keras.metrics.Mean(name=name) for name in ("mutual_information", "total_correlation")}

    def details(self, terms):
        """Those of each example."""
        information, correlation, _ = self.parts(terms)
        return {"mutual_information": information, "total_correlation": correlation}

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        own = {"alpha": self.alpha, "gamma": self.gamma, "dataset_size": self.dataset_size, "samples": self.samples}
        return own | {"beta": self.weights["beta"].config()}

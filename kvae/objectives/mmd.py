"""The distance of the codes of a batch from draws of the prior."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from kvae.numerics.arguments import choice, listed, number, whole
from kvae.objectives.base import Objective
from kvae.objectives.weights import Weight


@keras.saving.register_keras_serializable("kvae")
class MMD(Objective):
    """All codes together drawn to the prior: loss = -E_q log p(x|z) + beta KL(q(z|x) || p(z)) + weight MMD^2(z, z').

    MMD^2 = E k(z, z~) + E k(z', z~') - 2 E k(z, z')

    is the squared maximum mean discrepancy of the codes z ~ q(z|x) of the batch and as many draws z' from the prior.
    The estimate is unbiased, so it may be negative. It is logged as `mmd`, and is 0 for a batch of one example. The
    loss of an example depends on its batch; the reported elbo, reconstruction and kl do not.

    The kernels, with t = |z - z'|^2 / 2 D, which is 1 in the mean for two draws from N(0, I), and the mean over the
    bandwidths c:

    "imq", inverse multiquadratic: k = c / (c + t).   "rbf", normal: k = exp(-t / c).

    beta = 0 with the diagonal posterior is the MMD-VAE, with `posterior="deterministic"` the Wasserstein autoencoder,
    which has no ELBO but, unlike a plain autoencoder, codes where the prior draws.

    Args:
        weight: of MMD^2, at least 0.
        beta: of the KL term, at least 0, or a schedule, see `ELBO`. In the paper on InfoVAE it is 1 - alpha.
        kernel: "imq" or "rbf".
        bandwidths: positive numbers c.
        samples: how many z to draw for each example, at least 1. Each draw has an MMD^2 over the batch.

    References: Zhao, Song, Ermon (2017), InfoVAE, arXiv 1706.02262. Tolstikhin, Bousquet, Gelly, Schoelkopf (2018),
    Wasserstein auto-encoders, arXiv 1711.01558. Gretton et al. (2012), A kernel two-sample test.
    """

    needs_prior_draws = True

    def __init__(
        self, weight: float = 100.0, beta: float | Callable = 0.0, kernel: str = "imq",
        bandwidths: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0), samples: int = 1,
    ):  # fmt: skip
        self.weight = number("weight", weight, least=0.0)
        self.weights = {"beta": Weight("MMD", "beta", beta)}
        self.kernel = choice("kernel", kernel, ("imq", "rbf"))
        self.bandwidths = tuple(number("bandwidths", one, above=0.0) for one in listed("bandwidths", bandwidths))
        if not self.bandwidths:
            raise ValueError("MMD needs at least one of bandwidths, got ().")
        self.samples = whole("samples", samples, 1)

    @property
    def needs_density(self):
        """False for beta = 0."""
        return self.weights["beta"].positive

    def loss(self, terms, step):
        """-E_q log p(x|z) + beta KL + weight MMD^2, `[B]`."""
        loss = self.weight * self.distance(terms) - tf.reduce_mean(terms.log_px_z, axis=0)
        if not self.needs_density:
            return loss
        return loss + tf.cast(self.weights["beta"](step), loss.dtype) * self.kl(terms)

    def distance(self, terms):
        """The unbiased estimate of MMD^2, a scalar."""
        z, other = terms.z, self.needed(terms, "prior_z")  # [S, B, D]
        rows = tf.cast(tf.shape(z)[1], z.dtype)
        pairs = 1.0 - tf.eye(tf.shape(z)[1], dtype=z.dtype)  # of different draws
        within = tf.reduce_sum(pairs * (self._kernel(z, z) + self._kernel(other, other)), axis=[1, 2])
        between = tf.reduce_mean(self._kernel(z, other), axis=[1, 2])
        found = tf.reduce_mean(within / (rows * tf.maximum(rows - 1.0, 1.0)) - 2.0 * between)
        return tf.where(rows > 1.0, found, 0.0)

    def trackers(self):
        """MMD^2."""
        return {"mmd": keras.metrics.Mean(name="mmd")}

    def details(self, terms):
        """The batch's, for each example."""
        return {"mmd": tf.fill(tf.shape(terms.log_px_z)[1:], self.distance(terms))}

    def _kernel(self, a, b):
        """k for all pairs of a and b: `[S, B, B]`."""
        square = tf.reduce_sum(tf.square(a), axis=-1)[:, :, None] + tf.reduce_sum(tf.square(b), axis=-1)[:, None, :]
        t = tf.nn.relu(square - 2.0 * tf.matmul(a, b, transpose_b=True)) / (2.0 * a.shape[-1])
        each = [c / (c + t) if self.kernel == "imq" else tf.exp(-t / c) for c in self.bandwidths]
        return tf.add_n(each) / len(each)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        own = {"weight": self.weight, "kernel": self.kernel, "bandwidths": list(self.bandwidths)}
        return own | {"samples": self.samples, "beta": self.weights["beta"].config()}

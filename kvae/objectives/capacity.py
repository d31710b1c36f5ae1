"""A KL term that is held at a given size."""

from collections.abc import Callable

import keras
import tensorflow as tf

from kvae.numerics.arguments import number, whole
from kvae.objectives.base import Objective
from kvae.objectives.weights import Weight


@keras.saving.register_keras_serializable("kvae")
class Capacity(Objective):
    """A KL term held at C nats, loss = -E_q log p(x|z) + gamma |mean of KL(q(z|x) || p(z)) - C|.

    The mean is that over the batch, as in the paper's experiments: C is what the codes carry on average, and one of
    them may carry more than another. Where the mean is C the loss is the reconstruction alone. Let C rise from 0 with a
    schedule, which is logged as `capacity`. The loss depends on the batch; the reported elbo, reconstruction and kl do
    not. The KL term is the closed form, where there is one, and else the Monte Carlo estimate.

    Args:
        capacity: C in nats, at least 0; or a schedule, see `ELBO`.
        gamma: the weight of the distance from C, at least 0. Large, so that the KL term follows C.
        samples: how many z to draw for each example, at least 1.

    Reference: Burgess et al. (2018), Understanding disentangling in beta-VAE, arXiv 1804.03599.
    """

    def __init__(self, capacity: float | Callable = 25.0, gamma: float = 1000.0, samples: int = 1):
        self.weights = {"capacity": Weight("Capacity", "capacity", capacity)}
        self.gamma = number("gamma", gamma, least=0.0)
        self.samples = whole("samples", samples, 1)

    def loss(self, terms, step):
        """-E_q log p(x|z) + gamma |mean KL - C|, `[B]`."""
        kl = tf.reduce_mean(self.kl(terms))
        distance = tf.abs(kl - tf.cast(self.weights["capacity"](step), kl.dtype))
        return self.gamma * distance - tf.reduce_mean(terms.log_px_z, axis=0)

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return {"capacity": self.weights["capacity"].config(), "gamma": self.gamma, "samples": self.samples}

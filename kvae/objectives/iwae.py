"""The importance-weighted bound."""

import math

import keras
import tensorflow as tf

from kvae.numerics.arguments import choice, whole
from kvae.objectives.base import Objective


@keras.saving.register_keras_serializable("kvae")
class IWAE(Objective):
    """The negative importance-weighted bound of Burda et al. (2016).

    loss = -log 1/S sum_s w_s,   w_s = p(x|z_s) p(z_s) / q(z_s|x),   z_s ~ q(z|x)

    One sample gives the ELBO. The bound rises with S to log p(x). Only `loss` is the bound: the reported elbo,
    reconstruction and kl are those of the ELBO at the same draws.

    The gradient can have less noise than the plain one (Tucker et al. 2019). With v_s = w_s / sum_r w_r,
    `gradient="doubly_reparameterized"` gives the encoder the gradient of the bound as

    sum_s v_s^2 (d log w_s / d z_s) (d z_s / d phi),   q's parameters in log w_s held fast

    which has the same mean. With growing S the gradient falls. The noise of the plain one stays as it is, that of this
    one falls with it. The decoder and the prior have the plain gradient, also where the prior is made of the encoder's
    posteriors. The posterior may have no weights but those of its projection.

    With `groups=M` the loss is the mean of M bounds of S / M samples each (Rainforth et al. 2018): a gradient with less
    noise, of a lower bound.

    Args:
        samples: S, how many z to draw for each example, at least 1.
        gradient: "plain" or "doubly_reparameterized".
        groups: M, a divisor of `samples`.

    `Normal("optimal")` has the best scale for the ELBO, not for this bound; take "learned" beside many samples.

    References: Burda, Grosse, Salakhutdinov (2016), Importance weighted autoencoders, arXiv 1509.00519. Tucker, Lawson,
    Gu, Maddison (2019), Doubly reparameterized gradient estimators for Monte Carlo objectives, arXiv 1810.04152.
    Rainforth et al. (2018), Tighter variational bounds are not necessarily better, arXiv 1802.04537.
    """

    def __init__(self, samples: int = 5, gradient: str = "plain", groups: int = 1):
        self.samples = whole("samples", samples, 1)
        self.gradient = choice("gradient", gradient, ("plain", "doubly_reparameterized"))
        self.groups = whole("groups", groups, 1)
        if self.samples % self.groups:
            raise ValueError(
                f"IWAE needs groups of equal size: samples={self.samples} is no multiple of groups={self.groups}."
            )

    @property
    def path_gradient(self) -> bool:
        """Whether the gradient is the doubly reparameterised one."""
        return self.gradient == "doubly_reparameterized"

    def path_weight(self, terms):
        """v_s within each group, `[S, B]`."""
        return tf.reshape(tf.nn.softmax(self._log_weights(terms), axis=1), tf.shape(terms.log_px_z))

    def loss(self, terms, step):
        """The negative bound, `[B]`."""
        log_w = self._log_weights(terms)
        bounds = tf.reduce_logsumexp(log_w, axis=1) - math.log(log_w.shape[1])
        return -tf.reduce_mean(bounds, axis=0)

    def _log_weights(self, terms):
        """log w by group, `[M, S / M, B]`."""
        log_w = terms.log_px_z + terms.log_pz - terms.log_qz_x
        if log_w.shape[0] % self.groups:
            raise ValueError(
                f"IWAE(groups={self.groups}) needs terms of a multiple of {self.groups} samples, got "
                f"{log_w.shape[0]}. Give vae.terms(x, samples={self.samples})."
            )
        return tf.reshape(log_w, [self.groups, log_w.shape[0] // self.groups, -1])

    def get_config(self):
        """Plain configuration: the constructor's arguments."""
        return {"samples": self.samples, "gradient": self.gradient, "groups": self.groups}

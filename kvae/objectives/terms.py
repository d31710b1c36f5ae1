"""What a model computes of a batch, and an objective makes a loss of."""

from typing import NamedTuple

import tensorflow as tf


class Terms(NamedTuple):
    """The log-densities at S samples z of q(z|x) for each of B examples, in nats.

    Attributes:
        log_px_z: log p(x|z), `[S, B]`, at the input x, summed over the event.
        log_pz: log p(z), `[S, B]`.
        log_qz_x: log q(z|x), `[S, B]`.
        kl: KL(q(z|x) || p(z)) in closed form, `[B]`, or None where there is none.
        kl_per_dim: its terms, `[B, D]`, or None where it does not split into dimensions.
        z: the samples, `[S, B, D]`.
        penalty: what the posterior adds to the loss alone, `[B]`, or None.
        details: names to what else the model reports, examples first; of steps, and None elsewhere.
        kl_per_group: the terms of the KL divergence group by group, at the samples, `[B, L]`, or None where z has no
            groups; see `kvae.numerics.divergences.kl_per_group`.
        log_qz_pairs: log q(z_i|x_j) of the dimensions one by one, `[S, B, B, D]`, i before j; where an objective needs
            it, and None elsewhere.
        prior_z: draws from the prior, `[S, B, D]`; where an objective needs them, and None elsewhere.
    """

    log_px_z: tf.Tensor
    log_pz: tf.Tensor
    log_qz_x: tf.Tensor
    kl: tf.Tensor | None
    kl_per_dim: tf.Tensor | None
    z: tf.Tensor
    penalty: tf.Tensor | None = None
    details: dict | None = None
    kl_per_group: tf.Tensor | None = None
    log_qz_pairs: tf.Tensor | None = None
    prior_z: tf.Tensor | None = None

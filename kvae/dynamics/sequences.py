"""The sequence ELBO of stretches of states."""

import tensorflow as tf

from kvae.data.batch import Batch
from kvae.numerics import divergences, noise
from kvae.numerics.normals import MultivariateNormalDiag


def terms(model, x, condition, stream, first, training):
    """The terms `[B]` by name for windows x `[B, W, *event_shape]`, and the squares `[B, 1, D]` that f leaves.

    They are for one step of time, a mean over W; numbers of windows from `first` on.
    """
    vae, size = model.vae, model.vae.latent_dim
    rows, length = tf.shape(x)[0], model.horizon + 1
    batch = vae.prepared(Batch(tf.reshape(x, [rows * length, *vae.event_shape])))
    q = vae.posterior_distribution(batch, training)
    width = vae.posterior.noise_size
    eps = noise.normal(model.seed, stream, first * length, rows * length, width, model.compute_dtype)
    z, log_q = vae.posterior.drawn(q, eps[None])
    p = vae.likelihood.distribution(vae.decode_features(z, None, training))
    if training:
        p = vae.likelihood.calibrated(batch.x, p, tf.ones([rows * length]), None)
    log_px_z = tf.reduce_sum(tf.reshape(vae.likelihood.log_prob(p, batch.x, None), [rows, length]), axis=1)
    z = tf.reshape(z, [rows, length, size])
    padded = tf.concat([tf.repeat(z[:, :1], model.order - 1, axis=1), z], axis=1)
    known = tf.stack([padded[:, i : i + length - 1] for i in range(model.order)], axis=2)  # [B, W - 1, order, D]
    given = tf.repeat(condition, length - 1, axis=0)
    means = model.mean(tf.reshape(known, [rows * (length - 1), model.order, size]), given, training)
    means = tf.reshape(means, [rows, length - 1, size])
    squares = tf.square(z[:, 1:] - means)
    means = tf.reshape(tf.concat([z[:, :1], means], axis=1), [rows * length, size])  # the first is not used
    scale = tf.sqrt(model._floored(model.variance)) * tf.ones_like(means)
    transition = MultivariateNormalDiag(means, scale)
    flat = tf.reshape(z, [1, rows * length, size])
    from_prior, from_before = (_kl(q, p, flat, log_q) for p in (vae.prior_distribution(), transition))
    kl = tf.reshape(from_prior, [rows, length])[:, 0]
    kl += tf.reduce_sum(tf.reshape(from_before, [rows, length])[:, 1:], axis=1)
    found = {"reconstruction": log_px_z / length, "kl": kl / length}
    elbo = found["reconstruction"] - found["kl"]
    return found | {"elbo": elbo, "loss": -elbo}, tf.reduce_mean(squares, axis=1, keepdims=True)


def _kl(q, p, z, log_q):
    closed = divergences.kl(q, p)
    return log_q[0] - p.log_prob(z)[0] if closed is None else closed

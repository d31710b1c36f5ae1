"""KL(q || p), from TensorFlow Probability's registry or written out."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd


def kl(q, p):
    """KL(q || p) in nats, batch-shaped, from TFP's registry; None where no closed form is registered.

    Also None for a point mass, which has no density; what TFP registers for it is no divergence. For a q with a
    full covariance and a p with a diagonal one it is written out, without the linear solves:
    sum_i log(s_i / L_ii) + (|L_i|^2 + (m_i - n_i)^2) / (2 s_i^2) - 1/2.
    """
    if isinstance(q, tfd.MultivariateNormalTriL) and isinstance(p, tfd.MultivariateNormalDiag):
        factor, scale = q.scale.to_dense(), p.stddev()
        square = tf.reduce_sum(tf.square(factor), axis=-1) + tf.square(q.loc - p.mean())
        logs = tf.math.log(scale) - tf.math.log(q.scale.diag_part())
        return tf.reduce_sum(logs + 0.5 * square / tf.square(scale) - 0.5, axis=-1)
    if isinstance(q, tfd.VectorDeterministic):
        return None
    each = kl_per_dim(q, p)
    if each is not None:  # fewer operations than TFP's for whole events
        return tf.reduce_sum(each, axis=-1)
    try:
        return tfd.kl_divergence(q, p)
    except NotImplementedError:
        return None


def kl_per_dim(q, p):
    """The terms of KL(q || p) dimension by dimension, `[..., D]`; None unless both factorise as normals.

    Where it is not None its sum over the last axis is KL(q || p).
    """
    if not (isinstance(q, tfd.MultivariateNormalDiag) and isinstance(p, tfd.MultivariateNormalDiag)):
        return None
    return tfd.kl_divergence(tfd.Normal(q.mean(), q.stddev()), tfd.Normal(p.mean(), p.stddev()))

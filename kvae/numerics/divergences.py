"""KL(q || p), from TensorFlow Probability's registry or written out."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics.grouped_normal import GroupedNormal
from kvae.numerics.low_rank import LowRankNormal


def kl(q, p):
    """KL(q || p) in nats, batch-shaped, from TFP's registry; None where no closed form is registered.

    Also None for a point mass, which has no density; what TFP registers for it is no divergence. For a q with a
    full covariance and a p with a diagonal one it is written out, without the linear solves:
    sum_i log(s_i / L_ii) + (|L_i|^2 + (m_i - n_i)^2) / (2 s_i^2) - 1/2. Likewise for a diagonal plus low rank.
    """
    if isinstance(q, LowRankNormal) and isinstance(p, tfd.MultivariateNormalDiag):
        scale = p.stddev()
        square = (q.variance() + tf.square(q.loc - p.mean())) / tf.square(scale)
        logs = tf.math.log(scale) - tf.math.log(q.scale_diag)
        return tf.reduce_sum(logs + 0.5 * square - 0.5, axis=-1) - 0.5 * q.log_det
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


def kl_per_group(q, p, z):
    """An unbiased estimate of the terms of KL(q || p) group by group, `[B, L]`, at draws z `[S, B, D]` of q.

    None unless both are `GroupedNormal` with the same groups. The sum over the last axis estimates KL(q || p). Where q
    and p draw the groups in the same order, each term is the mean over the draws of the closed form KL(q_l || p_l)
    given the groups drawn before. Otherwise it is that of log q_l - log p_l.
    """
    if not (isinstance(q, GroupedNormal) and isinstance(p, GroupedNormal) and q.group_sizes == p.group_sizes):
        return None
    terms = []
    for one, of_q, of_p in zip(q.split(z), q.given(z), p.given(z), strict=True):
        ours, theirs = tfd.Normal(*of_q), tfd.Normal(*of_p)
        each = tfd.kl_divergence(ours, theirs) if q.order == p.order else ours.log_prob(one) - theirs.log_prob(one)
        each = tf.reduce_sum(each + tf.zeros_like(one), axis=-1)  # the top group's has no axis of draws
        terms.append(tf.reduce_mean(each, axis=0))
    return tf.stack(terms, axis=-1)


def pairs(q, z):
    """log q(z_i|x_j) in nats, dimension by dimension, `[S, B, B, D]`, for z `[S, B, D]` and q of batch `[B]`.

    Raises:
        ValueError: unless q factorises as normals.
    """
    if not isinstance(q, tfd.MultivariateNormalDiag):
        raise ValueError(
            f"The densities of single dimensions are needed, and {type(q).__name__} does not factorise as normals. Use "
            "posterior='diagonal_normal'."
        )
    return tfd.Normal(q.mean(), q.stddev()).log_prob(z[:, :, None, :])

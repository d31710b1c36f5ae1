"""Zeros through the parts of a new model, so that what does not fit is said before any training."""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.numerics import divergences
from kvae.numerics.arguments import shown
from kvae.objectives import Terms

_EVENT = "tfd.Independent(p, 1) makes the last axis of a batch an event."


def check_parts(vae) -> None:
    """Raise a ValueError where a part's distribution or draw has a wrong shape, or the objective lacks what it needs.

    kvae's own parts fit, and are left out but for objectives that need a closed form or single dimensions.
    """
    parts = vae.posterior, vae.prior, vae.likelihood, vae.objective
    asking = vae.objective.needs_closed_form or vae.objective.needs_pairs
    if all(type(part).__module__.startswith("kvae.") for part in parts) and not asking:
        return
    with tf.init_scope():  # eagerly, also where a graph is being built
        posterior, prior, likelihood = vae.posterior, vae.prior, vae.likelihood
        dtype, latent = posterior.compute_dtype, (vae.latent_dim,)
        condition = None if vae.condition_shape is None else tf.zeros([1, *vae.condition_shape])
        q = posterior.distribution(tf.zeros([1, *vae.encoder.output_shape[1:]], dtype))
        _check(posterior, q, latent)
        samples = vae.objective.samples
        z = posterior.draw(q, tf.zeros([samples, 1, posterior.noise_size], dtype))
        _check_draw(posterior, z, (samples, 1, *latent))
        p = vae.prior_distribution(condition)
        _check(prior, p, latent, ((), (1,)))
        _check_draw(prior, prior.draw(p, tf.zeros([1, prior.noise_size], dtype)), (1, *latent))
        features = tf.zeros([1, *vae.decoder.output_shape[1:]], likelihood.compute_dtype)
        _check(likelihood, likelihood.distribution(features), vae.event_shape)
        log_pz, log_qz = p.log_prob(z), q.log_prob(z) if posterior.has_density else None
        exact = divergences.kl(q, p), divergences.kl_per_dim(q, p)
        needs = vae._needs(q, p, z, tf.zeros([samples, 1, prior.noise_size], dtype))
        terms = Terms(
            tf.zeros_like(log_pz), log_pz, log_qz, *exact, z, kl_per_group=divergences.kl_per_group(q, p, z), **needs
        )
        vae.objective.loss(terms, tf.constant(0, tf.int64))


def _check(part, found, event: tuple, batches: tuple = ((1,),)) -> None:
    """Raise a ValueError unless `found` is a distribution over events of that shape, for one example."""
    name = f"{type(part).__name__}'s distribution"
    if not isinstance(found, tfd.Distribution):
        raise ValueError(f"{name} must be one of tensorflow_probability.distributions, got {shown(found)}.")
    if tuple(found.event_shape) != event or tuple(found.batch_shape) not in batches:
        raise ValueError(
            f"{name} has event shape {tuple(found.event_shape)} and batch shape {tuple(found.batch_shape)} for one "
            f"example, but they must be {event} and {' or '.join(map(str, batches))}. {_EVENT}"
        )


def _check_draw(part, z, shape: tuple) -> None:
    if tuple(z.shape) != shape:
        raise ValueError(
            f"{type(part).__name__}'s draw has shape {tuple(z.shape)} for one example, but it must have {shape}: that "
            "of the noise, with the latent dimensions last."
        )

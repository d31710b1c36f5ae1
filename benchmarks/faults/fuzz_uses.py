"""What makes use of the results of `fuzz.py`'s calls, so that a fault cannot hide in them."""

from collections.abc import Callable

import tensorflow as tf

import kvae


def use(world, name: str) -> Callable | None:
    """What to do with what a target returns; None where nothing is to be done."""
    group, _, last = name.rpartition(".")
    if last in ("Likelihood", "Posterior", "Prior", "Objective"):
        return None  # abstract
    uses = {
        "": _model, "data": _data, "callbacks": _callback, "likelihoods": _likelihood, "posteriors": _posterior,
        "priors": _prior, "objectives": _objective, "schedules": _schedule, "networks": _networks,
    }  # fmt: skip
    found = uses.get(group)
    return None if found is None else lambda result: found(world, result)


def _model(world, found):
    return found.terms(world.names["X"]) if isinstance(found, kvae.VAE) else found


def _data(world, found):
    del world
    return found.x if isinstance(found, kvae.data.Split) else getattr(found, "train", None)


def _callback(world, found):
    world.vae.fit(world.names["X"], verbose=0, callbacks=[found])


def _likelihood(world, found):
    x = world.names["B"] if found.measure == "mass" else 0.25 + 0.5 * world.names["B"]
    return kvae.VAE(world.encoder, world.decoder, likelihood=found).terms(x)


def _posterior(world, found):
    objective = kvae.objectives.ELBO(beta=1.0 if found.has_density else 0.0)
    prior = "codes" if hasattr(found, "codes") else "standard_normal"
    model = kvae.VAE(world.encoder, world.decoder, posterior=found, prior=prior, objective=objective)
    return model.terms(world.names["X"])


def _prior(world, found):
    if isinstance(found, kvae.priors.Codes):
        coder = kvae.posteriors.FiniteScalar((3,))
        return kvae.VAE(world.encoder, world.decoder, posterior=coder, prior=found).terms(world.names["X"])
    return kvae.VAE(*world.with_classes, prior=found).terms(world.names["X"], condition=world.names["Y"])


def _objective(world, found):
    z = world.terms.z
    terms = world.terms._replace(prior_z=-z, log_qz_pairs=-((z[:, :, None] - z[:, None]) ** 2))
    return found.loss(terms, tf.constant(3)), found.kl(terms)


def _schedule(world, found):
    del world
    return found(0), found(tf.constant(7, tf.int64)), found(10**6)


def _networks(world, found):
    del world
    if isinstance(found, tuple):
        return [one([tf.zeros([2, *of.shape[1:]]) for of in one.inputs]) for one in found]
    return found(tf.zeros([2, 3]))

"""Experiments on a model that leave it as it is: more training of a copy, and whether its networks react."""

import math

import keras
import numpy as np
import tensorflow as tf

from kvae.data import inputs
from kvae.evaluate.estimates import Estimate, mean_of
from kvae.evaluate.per_example import PerExample, per_example
from kvae.numerics import noise

_BATCH, _PASSES = 64, 20
_ROWS = 256  # that a network has to react to
_STILL = 1e-6  # of the features' size: rounding


def more_training(vae, data, train, found: PerExample, samples: int, seed: int, steps: int) -> dict[str, Estimate]:
    """What more training of a copy, on `train` or half of data, adds to the ELBO of data or of their other half."""
    before, variance = found.elbo, found.elbo_variance
    if not vae.trainable_variables:
        return {}
    if train is None:
        if len(data) < 4:
            return {}
        train, data = inputs.divide(data.replace(array=data.x, scale=1.0, dynamic=False), 0.5)  # x as it was scanned
        before, variance = before[len(train) :], variance[len(train) :]
    copy, batches = _copy(vae), math.ceil(len(train) / _BATCH)
    copy.fit(train, batch_size=_BATCH, steps_per_epoch=min(steps, _PASSES * batches), epochs=1, verbose=0)
    after = per_example(copy, data, samples, (seed + 1) % 2**32)
    return {"gain_by_training": mean_of(after.elbo - before, after.elbo_variance + variance, samples)}


def _copy(vae):
    """A model with the same weights, compiled with Adam; schedules of the objective stay as they are now."""
    parts = {name: keras.models.clone_model(getattr(vae, name)) for name in ("encoder", "decoder")}
    for name in ("posterior", "likelihood", "prior"):
        family = getattr(vae, name)
        parts[name] = type(family).from_config(family.get_config())
    step = int(vae.optimizer.iterations) if vae.compiled else vae.objective.schedule_end
    objective = vae.objective.held(step)
    copy = type(vae)(**parts, objective=objective, seed=vae.seed)
    copy.set_weights(vae.get_weights())
    for own, other in zip(vae._flatten_layers(), copy._flatten_layers(), strict=True):  # from the outside in
        other.trainable = own.trainable
    copy.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)  # XLA compiles for longer than it saves
    return copy


def dead_networks(vae, data) -> tuple[str, ...]:
    """Which of "encoder" and "decoder" put out the same features whatever x, or whatever z: their units are dead.

    The condition is the same for all rows; where there is only one x, nothing is said of the encoder.
    """
    batch = vae.prepared(next(inputs.batches(data.first(_ROWS), vae.likelihood, vae.condition_shape)))
    rows = len(batch.x)
    same = None if batch.condition is None else tf.repeat(batch.condition[:1], rows, axis=0)
    z = noise.normal(0, noise.DRAWS, 0, rows, vae.latent_dim, vae.posterior.compute_dtype)
    dead = []
    if not _still(batch.x) and _still(vae.encode_features(batch._replace(condition=same))):
        dead.append("encoder")
    if rows > 1 and _still(vae.decode_features(z, same)):
        dead.append("decoder")
    return tuple(dead)


def _still(features) -> bool:
    """Whether rows `[B, ...]` are all equal, up to rounding."""
    features = np.asarray(features, np.float64)
    return bool(np.abs(features - features[:1]).max() <= _STILL * np.sqrt(np.square(features).mean()))

"""A SavedModel of a transition."""

import tensorflow as tf

from kvae.dynamics.base import Transition
from kvae.dynamics.rollouts import walk
from kvae.export import staging
from kvae.export.endpoints import examples
from kvae.export.manifest import manifest
from kvae.numerics import arguments, noise


def saved_model(model: Transition, path, steps: int) -> str:
    """Write it to exactly `path`, see `kvae.dynamics.Dynamics.export`."""
    steps = arguments.whole("steps", steps, 1)
    path = staging.new_path(path)
    served, vae = _Served(model, steps), model.vae
    codes = (None, vae.latent_dim) if model.order == 1 else (None, model.order, vae.latent_dim)
    x = tf.TensorSpec((None, *vae.event_shape), model.compute_dtype, name="x")
    seed, z = tf.TensorSpec((None,), tf.int32, name="seed"), tf.TensorSpec(codes, model.compute_dtype, name="z")
    given = [tf.TensorSpec((None, model.condition), model.compute_dtype, name="condition")] if model.condition else []
    table = {"serving_default": (served.rollout, [x, seed, *given]), "step": (served.step, [z, *given])}
    table["rollout"] = table["serving_default"]
    about = {"transition": model.transition, "order": model.order, "steps": steps, "condition": model.condition}
    staging.write(path, model, table, lambda folder: manifest(vae, folder, 1, {}) | {"dynamics": about})
    return str(path)


class _Served:
    def __init__(self, model: Transition, steps: int):
        self.model, self.steps = model, steps

    def step(self, z, condition=None):
        codes = z[:, None] if self.model.order == 1 else z
        mean = self.model.mean(codes, condition)
        return {"mean": mean, "scale": self.model.scale * tf.ones_like(mean)}

    def rollout(self, x, seed, condition=None):
        model, vae = self.model, self.model.vae
        batch, valid = examples(vae, x)
        if condition is not None:
            fine = tf.math.is_finite(condition)
            condition = tf.where(fine, condition, model.condition_center)
            valid = tf.logical_and(valid, tf.reduce_all(fine, axis=1))
        q = vae.posterior_distribution(batch)

        def draws(step, width):
            return noise.normal_of_seeds(seed, noise.ROLLOUT - step, 0, 1, width, model.compute_dtype)[:, 0]

        if vae.posterior.has_density:
            z = vae.posterior.draw(q, draws(tf.zeros([], tf.int64), vae.posterior.noise_size)[None])[0]
        else:
            z = vae.posterior.center(q)
        shape = [tf.shape(x)[0]]

        def moved(step):
            return model.scale * draws(step, vae.latent_dim)

        codes = walk(model, z[:, None], condition, self.steps, moved, shape)
        flat = tf.reshape(codes, [-1, vae.latent_dim])
        mean = vae.likelihood.distribution(vae.decode_features(flat)).mean()
        return {
            "codes": codes,
            "mean": tf.reshape(mean, [-1, self.steps, *vae.event_shape]),
            "valid": valid,
        }

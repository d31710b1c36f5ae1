"""What a SavedModel serves: functions of rows, by name.

The first axis of every input and output is the batch. All randomness comes from seeds, one per row.
"""

from collections.abc import Callable

import tensorflow as tf

from kvae.data.batch import Batch, inputs_of
from kvae.data.support import BINARY
from kvae.models.importance import importance_weighted
from kvae.numerics import divergences, noise
from kvae.numerics.arguments import shown
from kvae.objectives import Terms


def endpoints(vae, samples: int, scored: Callable | None = None) -> dict[str, tuple[Callable, list[tf.TensorSpec]]]:
    """Name to function and inputs, see `kvae.export.saved_model`; `samples` is that of log_likelihood."""
    dtype = vae.likelihood.compute_dtype
    x = tf.TensorSpec((None, *vae.event_shape), dtype, name="x")
    z = tf.TensorSpec((None, vae.latent_dim), dtype, name="z")
    seed = tf.TensorSpec((None,), tf.int32, name="seed")
    given = []
    if vae.condition_shape is not None:
        given.append(tf.TensorSpec((None, *vae.condition_shape), tf.float32, name="condition"))
    beside = list(given)  # what stands beside x
    if "mask" in inputs_of(vae.encoder):
        beside.append(tf.TensorSpec(x.shape, tf.float32, name="mask"))
    served = _Served(vae, [spec.name for spec in beside], samples, scored or (lambda batch: {}))
    table: dict[str, tuple[Callable, list[tf.TensorSpec]]] = {
        "serving_default": (served.reconstruct, [x, *beside]),
        "encode": (served.encode, [x, *beside]),
        "decode": (served.decode, [z, *given]),
        "reconstruct": (served.reconstruct, [x, *beside]),
        "sample": (served.sample, [seed, *given]),
    }
    if vae.posterior.has_density:
        table["score"] = served.score, [x, seed, *beside]
        table["log_likelihood"] = served.log_likelihood, [x, seed, *beside]
    elif scored is not None:
        table["score"] = served.scored_alone, [x, *beside]
    return {name: (_of_as_many_rows(name, function, specs), specs) for name, (function, specs) in table.items()}


def _of_as_many_rows(name: str, function: Callable, specs: list[tf.TensorSpec]) -> Callable:
    """The function, with an error of the signature's own where its inputs have different numbers of rows."""
    if len(specs) == 1:
        return function
    names = ", ".join(spec.name for spec in specs)
    said = f"{name} takes as many rows of one input as of another. Give as many of each: those of {names} are"

    def checked(*tensors):
        rows = tf.stack([tf.shape(tensor)[0] for tensor in tensors])
        check = tf.raw_ops.Assert(condition=tf.reduce_all(rows == rows[0]), data=[tf.constant(said), rows], summarize=8)
        with tf.control_dependencies([check]):
            return function(*map(tf.identity, tensors))

    return checked


class _Served:
    def __init__(self, vae, beside: list[str], samples: int, scored: Callable):
        self.vae, self.beside, self.samples, self.scored = vae, beside, samples, scored

    def encode(self, x, *beside):
        batch, valid = self._examples(x, beside)
        return self.vae.posterior.export(self._posterior(batch)) | {"valid": valid}

    def decode(self, z, condition=None):
        z, valid = _finite(z)
        condition, fine = _finite(condition)
        return {"mean": self._decoded(z, condition).mean(), "valid": tf.logical_and(valid, fine)}

    def reconstruct(self, x, *beside):
        batch, valid = self._examples(x, beside)
        z = self.vae.posterior.center(self._posterior(batch))
        mean = self._decoded(z, batch.condition).mean()
        return {"mean": mean, "error": self._error(batch, mean), "valid": valid}

    def sample(self, seed, condition=None):
        condition, valid = _finite(condition)
        dtype = self.vae.likelihood.compute_dtype
        eps = noise.normal_of_seeds(seed, noise.DRAWS, 0, 1, self.vae.prior.noise_size, dtype)[:, 0]
        z = self.vae.prior.draw(self._prior(condition), eps)
        mean = self._decoded(z, condition).mean()
        return {"z": z, "mean": mean, "valid": tf.broadcast_to(valid, tf.shape(seed))}

    def score(self, x, seed, *beside):
        batch, valid = self._examples(x, beside)
        q, prior = self._posterior(batch), self._prior(batch.condition)
        drawn, log_q = self.vae.posterior.drawn(q, self._noise(seed, noise.DRAWS, 0, 1)[:, 0][None])
        center = self.vae.posterior.center(q)[None]
        z = tf.concat([drawn, center], axis=0)  # [2, B, D]: at a draw, and at the mean
        p = self._decoded(z, batch.condition)
        log_px_z = self.vae.likelihood.log_prob(p, batch.x, batch.mask)
        log_pz, log_qz_x = prior.log_prob(z), tf.concat([log_q, q.log_prob(center)], axis=0)
        exact = divergences.kl(q, prior)
        groups = divergences.kl_per_group(q, prior, drawn)
        terms = Terms(log_px_z[:1], log_pz[:1], log_qz_x[:1], exact, None, drawn, kl_per_group=groups)
        kl = self.vae.objective.kl(terms)
        return {
            "elbo": log_px_z[0] - kl,
            "reconstruction": log_px_z[0],
            "kl": kl,
            "score": log_px_z[1] - (log_qz_x[1] - log_pz[1] if exact is None else exact),
            "error": self._error(batch, p.mean()[1]),
            "valid": valid,
        } | self._scored(batch)

    def _scored(self, batch) -> dict:
        found = self.scored(batch)
        if not isinstance(found, dict):
            raise ValueError(f"scored must give a dict of names to outputs [B], got {shown(found)}.")
        return found

    def scored_alone(self, x, *beside):
        batch, valid = self._examples(x, beside)
        return self._scored(batch) | {"valid": valid}

    def log_likelihood(self, x, seed, *beside):
        batch, valid = self._examples(x, beside)

        def draws(first, count):
            return self._noise(seed, noise.IMPORTANCE, first, count)

        found = importance_weighted(self.vae, batch, self._posterior(batch), draws, self.samples)
        return {
            "log_likelihood": found.log_likelihood,
            "effective_sample_size": found.effective_sample_size,
            "valid": valid,
        }

    def _examples(self, x, beside) -> tuple[Batch, tf.Tensor]:
        return examples(self.vae, x, **dict(zip(self.beside, beside, strict=True)))

    def _noise(self, seed, stream, first, rows):
        """`[B, rows, noise size]`: of each seed the rows `first`, `first + 1`, ..., the same bits in every batch."""
        posterior, dtype = self.vae.posterior, self.vae.likelihood.compute_dtype
        return noise.normal_of_seeds(seed, stream, first, rows, posterior.noise_size, dtype)

    def _posterior(self, batch):
        return self.vae.posterior_distribution(batch)

    def _prior(self, condition):
        return self.vae.prior_distribution(condition)

    def _decoded(self, z, condition):
        return self.vae.likelihood.distribution(self.vae.decode_features(z, condition))

    def _error(self, batch, mean):
        """The mean over what was observed of (x - mean)^2, `[B]`."""
        axes = list(range(1, mean.shape.rank))
        seen = tf.ones_like(mean) if batch.mask is None else tf.cast(batch.mask, mean.dtype)
        total = tf.reduce_sum(seen * tf.square(batch.x - mean), axis=axes)
        return tf.math.divide_no_nan(total, tf.reduce_sum(seen, axis=axes))


def examples(vae, x, condition=None, mask=None) -> tuple[Batch, tf.Tensor]:
    """The batch with a neutral value for every x that the likelihood does not explain, and the rows without any."""
    outside = vae.likelihood.support.outside(x)
    condition, fine = _finite(condition)
    if mask is not None:
        outside = tf.logical_and(outside, mask > 0.5)
        batch = vae.prepared(Batch(x, condition, tf.where(outside, tf.zeros_like(mask), mask)))
        outside = tf.logical_or(outside, BINARY.outside(mask))
    else:
        neutral = tf.cast(vae.likelihood.neutral, x.dtype)
        batch = vae.prepared(Batch(tf.where(outside, neutral, x), condition))
    wrong = tf.reduce_any(outside, axis=list(range(1, x.shape.rank)))
    return batch, tf.logical_and(tf.logical_not(wrong), fine)


def _finite(tensor):
    """The tensor with 0 where it is not finite, and which rows were finite; None counts as finite."""
    if tensor is None:
        return None, tf.constant(True)
    fine = tf.math.is_finite(tensor)
    return tf.where(fine, tensor, tf.zeros_like(tensor)), tf.reduce_all(fine, axis=list(range(1, tensor.shape.rank)))

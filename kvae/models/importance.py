"""Log-densities at many draws of z for each example: what estimators are made of."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kvae.data import inputs
from kvae.data.batch import Batch
from kvae.likelihoods.base import mixed
from kvae.numerics import divergences, noise
from kvae.numerics.chunks import even_chunk_size, map_chunks
from kvae.numerics.compilation import prefers_xla
from kvae.numerics.weights import warn_of_few

FLOATS_AT_A_TIME = 16_000_000  # of the decoder's widest layer, in memory
_FLOATS_IN_CACHE = 1_000_000


class ImportanceSampler:
    """The terms of log p(x|z) p(z) / q(z|x) at z ~ q(z|x), in parts.

    Batches are `prepared` but where it is said otherwise.

    Args:
        vae: a `kvae.VAE` whose posterior has a density.

    Attributes:
        widest: the size of the largest array in the decoder or of the prior's density, for one z.
        jit: whether XLA compiles long work on the decoder.
    """

    def __init__(self, vae):
        self.vae = vae
        layers = [layer for layer in vae.decoder._flatten_layers() if layer._inbound_nodes]
        shapes = [tensor.shape[1:] for layer in layers for tensor in keras.tree.flatten(layer.output)]
        known = [shape for shape in shapes if None not in shape]
        self.widest = max(math.prod(shape) for shape in [*known, vae.event_shape, (vae.prior.widest,)])
        self.jit = prefers_xla(vae.decoder, vae.likelihood) and vae.likelihood.compute_dtype == "float32"
        self._function = vae.methods.function

    @classmethod
    def of(cls, vae) -> "ImportanceSampler":
        """The model's own, made once."""
        return vae.methods.get("draws", lambda: cls(vae))

    def at_a_time(self, samples: int, floats: int = FLOATS_AT_A_TIME) -> int:
        """How many examples can be decoded at once with so many draws each."""
        return max(1, floats // (samples * self.widest))

    def encoded(self, data) -> Iterator[tuple[Batch, tf.Tensor]]:
        """The examples of data, checked and prepared, some at a time, with the parameters of q(z|x)."""
        for examples in inputs.batches(data, self.vae.likelihood, self.vae.condition_shape):
            batch = self.vae.prepared(examples)
            yield batch, self.parameters(batch)

    def chunks(self, data, most: int, pad: bool) -> Iterator[tuple[int, int, Batch, tf.Tensor]]:
        """`encoded` in chunks of at most `most` examples: the number of the first, how many, batch and parameters.

        With `pad`, a short chunk repeats its examples until it has as many rows as the others. So there is one shape
        and one compilation.
        """
        chunk_size, number = 0, 0
        for batch, parameters in self.encoded(data):
            size = len(batch.x)
            chunk_size = chunk_size or even_chunk_size(size, most)  # the first batch is as large as any
            for first in range(0, size, chunk_size):
                count = min(chunk_size, size - first)
                rows = np.resize(np.arange(first, first + count), chunk_size if pad else count)
                some = batch.map(lambda tensor, rows=rows: tf.gather(tensor, rows))
                yield number + first, count, some, tf.gather(parameters, rows)
            number += size

    def parameters(self, batch: Batch) -> tf.Tensor:
        """Those of q(z|x), `[B, units]`, see `kvae.posteriors.Posterior.of`."""
        return self._function(self.vae.encode_parameters)(batch)

    def code_and_kl(self, batch: Batch, parameters) -> tuple[tf.Tensor, tf.Tensor | None]:
        """The mean of q(z|x) `[B, D]`, and KL(q || prior) `[B]` in nats or None where it has no closed form."""
        return self._function(self._code_and_kl)(batch, parameters)

    def _code_and_kl(self, batch, parameters):
        q = self.vae.posterior.of(parameters)
        return self.vae.posterior.center(q), divergences.kl(q, self.vae.prior_distribution(batch.condition))

    def terms(
        self, batch: Batch, parameters, seed: int, first: int, count: int, jit: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """log p(x|z) and log p(z) - log q(z|x) at draws number `first`, `first + 1`, ...

        The first is `[count, B, 1 + G]`, with the terms of the G groups of a joint likelihood behind it; the second is
        `[count, B]`.

        Example i has the draws first + i * count and on, so that one example's draws can be taken in parts. With
        `jit` XLA compiles it, once for every B and count (float32 only).
        """
        rows = len(batch.x)
        if not jit or batch.x.dtype != tf.float32:
            return self._function(self._terms)(batch, parameters, self.normals(seed, first, rows, count))
        size = self.vae.posterior.noise_size
        eps = tf.reshape(noise.many_normals(seed, noise.IMPORTANCE, first, rows * count, size), [rows, count, size])
        return self._function(self._terms_in_cache, jit_compile=True)(batch, parameters, eps)

    def imputed(self, batch: Batch, samples: int, seed: int, output: str, count: int) -> tf.Tensor:
        """x with its missing values filled in `[n, B, *event_shape]`, see `kvae.VAE.impute`; need not be prepared.

        `count` is the number n of draws, for the output "sample"; otherwise n = 1.
        """
        chunk_size, parts, effective = self.at_a_time(samples), [], []
        for first in range(0, len(batch.x), chunk_size):
            part = self.vae.prepared(batch.map(lambda array, rows=slice(first, first + chunk_size): array[rows]))
            rows, size = len(part.x), math.prod(self.vae.event_shape)
            eps, uniform = self.normals(seed, first * samples, rows, samples), None
            if output == "sample":
                uniform = noise.uniform(seed, noise.PIXELS, first, rows, count * (1 + size), part.x.dtype)
                uniform = tf.transpose(tf.reshape(uniform, [rows, count, 1 + size]), [1, 0, 2])
            filled, ess = self._function(self._imputed)(part, self.parameters(part), eps, uniform, output)
            parts.append(filled)
            effective.append(ess)
        effect, remedy = "bands of draws are too narrow there", "Give more samples=."
        warn_of_few(tf.concat(effective, axis=0), samples, effect, remedy, stacklevel=4)
        return tf.concat(parts, axis=1)

    def _imputed(self, batch, parameters, eps, uniform, output):
        likelihood = self.vae.likelihood
        z, log_ratio = self.drawn(batch, parameters, eps)
        p = likelihood.distribution(self.vae.decode_features(z, batch.condition))
        weight = tf.nn.softmax(likelihood.log_prob(p, batch.x, batch.mask) + log_ratio, axis=0)  # [S, B]
        if output == "point":
            filling = likelihood.point(p, weight)[None]
        elif output == "mean":
            filling = mixed(weight, p.mean())[None]
        else:  # z_k by its weight: k is the number of partial sums below a uniform number
            below = tf.cumsum(weight, axis=0)[:-1, None] < uniform[None, :, :, 0]  # [S - 1, n, B]
            k = tf.transpose(tf.reduce_sum(tf.cast(below, tf.int32), axis=0))  # [B, n]
            z = tf.transpose(tf.gather(tf.transpose(z, [1, 0, 2]), k, batch_dims=1), [1, 0, 2])
            p = likelihood.distribution(self.vae.decode_features(z, batch.condition))
            shape = tf.concat([tf.shape(uniform)[:2], self.vae.event_shape], axis=0)
            filling = likelihood.draw(p, tf.reshape(uniform[:, :, 1:], shape))
        effective = 1.0 / tf.reduce_sum(tf.square(weight), axis=0)
        return tf.where(batch.mask, batch.x, filling), effective

    def normals(self, seed: int, first: int, examples: int, count: int) -> tf.Tensor:
        """Noise for `count` draws for each example, `[examples, count, noise size]`, from draw number `first` on."""
        numbers = tf.constant(seed, tf.int64), tf.constant(first, tf.int64)
        return self._function(self._noise)(*numbers, tf.constant(examples), tf.constant(count))

    def _noise(self, seed, first, examples, count):
        size, dtype = self.vae.posterior.noise_size, self.vae.posterior.compute_dtype
        eps = noise.normal(seed, noise.IMPORTANCE, first, examples * count, size, dtype)
        return tf.reshape(eps, [examples, count, size])

    def drawn(self, batch, parameters, eps):
        """z `[S, B, D]` of noise `[B, S, D]`, and log p(z) - log q(z|x) there, `[S, B]`."""
        vae = self.vae
        q, prior = vae.posterior.of(parameters), vae.prior_distribution(batch.condition)
        z, log_qz_x = vae.posterior.drawn(q, tf.transpose(eps, [1, 0, 2]))
        return z, prior.log_prob(z) - log_qz_x

    def _terms(self, batch, parameters, eps, at_a_time=None):
        vae, (z, log_ratio) = self.vae, self.drawn(batch, parameters, eps)

        def log_px_z(z):
            p = vae.likelihood.distribution(vae.decode_features(z, batch.condition))
            found = vae.likelihood.log_prob(p, batch.x, batch.mask)
            groups = vae.likelihood.log_prob_by_group(p, batch.x, batch.mask)
            return tf.stack([found, *groups.values()], axis=-1)

        return log_px_z(z) if at_a_time is None else map_chunks(log_px_z, z, at_a_time), log_ratio

    def _terms_in_cache(self, batch, parameters, eps):
        at_a_time = max(1, _FLOATS_IN_CACHE // (self.widest * batch.x.shape[0]))
        return self._terms(batch, parameters, eps, at_a_time)


class Weighted(NamedTuple):
    """Of each example over its draws, `[B]`: log p(x), the effective number of draws, and both terms of the ELBO."""

    log_likelihood: tf.Tensor
    effective_sample_size: tf.Tensor
    reconstruction: tf.Tensor
    kl: tf.Tensor


def importance_weighted(vae, batch: Batch, q, draws: Callable, samples: int) -> Weighted:
    """Importance sampling in one loop of a graph, with as many draws at a time as fit into memory.

    Args:
        vae: a model whose posterior has a density.
        batch: that is `prepared`.
        q: q(z|x) of the batch.
        draws: a function of the number of the first draw and how many: noise `[B, count, noise size]`. It is called for
            draws beyond the last, too, which do not count.
        samples: how many in all.
    """
    prior = vae.prior_distribution(batch.condition)
    zero = tf.zeros_like(prior.log_prob(vae.posterior.center(q)))
    rows = max(1, FLOATS_AT_A_TIME // ImportanceSampler.of(vae).widest)  # of z that fit into memory at once
    count = tf.clip_by_value(rows // tf.maximum(tf.shape(zero)[0], 1), 1, samples)  # draws

    def body(first, largest, total, squares, reconstruction, kl):
        z, log_qz_x = vae.posterior.drawn(q, tf.transpose(draws(first, count), [1, 0, 2]))
        p = vae.likelihood.distribution(vae.decode_features(z, batch.condition))
        log_px_z = vae.likelihood.log_prob(p, batch.x, batch.mask)
        log_ratio = log_qz_x - prior.log_prob(z)
        beyond = first + tf.range(count)[:, None] >= samples  # of the last part
        log_w = tf.where(beyond, tf.constant(-math.inf, log_px_z.dtype), log_px_z - log_ratio)
        now = tf.maximum(largest, tf.reduce_max(log_w, axis=0))
        safe = tf.where(tf.math.is_inf(now), zero, now)  # where all weights so far are 0
        shrink, w = tf.exp(largest - safe), tf.exp(log_w - safe)
        total = total * shrink + tf.reduce_sum(w, axis=0)
        squares = squares * tf.square(shrink) + tf.reduce_sum(tf.square(w), axis=0)
        reconstruction += tf.reduce_sum(tf.where(beyond, zero[None], log_px_z), axis=0)
        kl += tf.reduce_sum(tf.where(beyond, zero[None], log_ratio), axis=0)
        return first + count, now, total, squares, reconstruction, kl

    start = tf.constant(0), zero - math.inf, zero, zero, zero, zero
    shapes = tf.TensorShape([]), *[tf.TensorShape([None])] * 5
    loop = tf.while_loop(lambda first, *_: first < samples, body, start, shape_invariants=shapes)
    _, largest, total, squares, reconstruction, kl = loop
    log_likelihood = largest + tf.math.log(total / samples)
    return Weighted(log_likelihood, tf.square(total) / squares, reconstruction / samples, kl / samples)

"""What a model answers: codes, reconstructions, samples, bounds and imputations."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae.data import conditions, inputs
from kvae.data.arrays import is_symbolic
from kvae.data.batch import Batch
from kvae.data.checks import check_rows
from kvae.models import resolve
from kvae.models.base import LatentVariableModel
from kvae.models.importance import ImportanceSampler
from kvae.numerics import arguments, noise
from kvae.numerics.chunks import ROWS, in_chunks
from kvae.objectives import Terms


class Inference(LatentVariableModel):
    """Abstract: the public methods that take x, z or a number of samples.

    x is what `fit` takes, converted and checked as there. Inside a `tf.function` or a `tf.data` pipeline x is a tensor
    without values: there a row of x outside the support gives NaN for that row alone.
    """

    def encode_features(self, batch, training=False):
        """The encoder at a batch that is `prepared`: features `[B, F]`."""
        raise NotImplementedError

    def posterior_distribution(self, batch, training=False):
        """q(z|x) at a batch that is `prepared`."""
        return self.posterior.distribution(self.encode_features(batch, training))

    def encode_parameters(self, batch, training=False):
        """The parameters of q(z|x) at a batch that is `prepared`, see `kvae.posteriors.Posterior.of`: `[B, units]`."""
        return self.posterior.parameters(self.encode_features(batch, training))

    def decode_features(self, z, condition=None, training=False):
        """The decoder at z `[..., B, D]` and conditions `[B, *condition_shape]`: `[..., B, *feature_shape]`."""
        raise NotImplementedError

    def prior_distribution(self, condition=None):
        """p(z), or p(z|c) for conditions that are `prepared`."""
        raise NotImplementedError

    def _elbo_terms(self, batch, seed, first, samples):
        return self._terms(batch, self._noise(seed, noise.DRAWS, first, tf.shape(batch.x)[0], samples))

    def _decode_mean(self, z, condition):
        return self.likelihood.distribution(self.decode_features(z, condition)).mean()

    def prior_draws(self, n: int, seed: int, condition=None) -> tf.Tensor:
        """The z that `sample(n, seed, condition=condition)` decodes, `[n, latent_dim]`; conditions are `prepared`."""
        return self.methods.function(self._prior_draws)(condition, *_int64(seed), tf.constant(n))

    def _prior_draws(self, condition, seed, n):
        eps = noise.normal(seed, noise.DRAWS, 0, n, self.prior.noise_size, self.prior.compute_dtype)
        return self.prior.draw(self.prior_distribution(condition), eps)

    def __call__(self, x, condition=None, mask=None, **kwargs):
        """`reconstruct`, which Keras may build into other models."""
        if not is_symbolic(x):
            x, condition, mask, _ = self._examples(x, condition, mask)
        return super().__call__(x, condition=condition, mask=mask, **kwargs)

    def call(self, x, condition=None, mask=None, training=False):
        """The mean of p(x | E q(z|x)), `[B, *event_shape]`."""
        batch = Batch(x, condition, mask)
        result = self._reconstruct(self.prepared(batch), training)
        return self.marked(batch, result) if is_symbolic(x) else result

    def _reconstruct(self, batch, training=False):
        z = self.posterior.center(self.posterior_distribution(batch, training))
        return self.likelihood.distribution(self.decode_features(z, batch.condition, training)).mean()

    # ---- deterministic ----

    def encode(self, x, condition=None, mask=None) -> tfd.Distribution:
        """q(z|x) for x `[B, *event_shape]`: batch `[B]`, event `[latent_dim]`. Deterministic.

        Here and below, `condition` is for a conditional model: labels `[B]` or vectors `[B, *condition_shape]`, by
        default those that come with the data; `mask` `[B, *event_shape]` is 1 where x was observed.

        Raises:
            ValueError: for an x that `fit` refuses.
        """
        return self.posterior.of(self._in_chunks(self.encode_parameters, self._examples(x, condition, mask)))

    def decode(self, z, condition=None) -> tfd.Distribution:
        """p(x|z) for z `[..., B, latent_dim]`, finite: batch `[..., B]`, event `event_shape`. Deterministic.

        Conditions belong to the last axis of the batch.
        """
        symbolic, z = is_symbolic(z), self._codes(z)
        condition = self._conditions(condition, z.shape[-2])
        function = self.methods.function(self.decode_features)
        at_once = condition is not None and z.shape.rank != 2
        features = function(z, condition) if at_once else in_chunks(function, z, condition)
        if symbolic:  # the codes of rows that are marked, see `marked`
            finite = tf.reduce_all(tf.math.is_finite(z), axis=-1)
            ones = [1] * (features.shape.rank - z.shape.rank + 1)
            finite = tf.reshape(finite, tf.concat([tf.shape(finite), ones], axis=0))
            features = tf.where(finite, features, tf.constant(float("nan"), features.dtype))
        return self.likelihood.distribution(features)

    def reconstruct(self, x, condition=None, mask=None) -> tf.Tensor:
        """The mean of p(x | E q(z|x)), `[B, *event_shape]`; what `predict` gives. Deterministic."""
        return self._in_chunks(self._reconstruct, self._examples(x, condition, mask))

    # ---- random by a seed ----

    def sample(self, n: int, seed: int | None = None, output: str = "mean", condition=None):
        """Draw z from the prior and decode it.

        Args:
            n: how many.
            seed: of the draw; the same seed gives the same samples. Without one each call gives others, which
                `keras.utils.set_random_seed` makes repeatable.
            output: "mean" for the means of p(x|z), "sample" for a draw from p(x|z), both
                `[n, *event_shape]`; "distribution" for p(x|z) itself.
            condition: of a conditional model: n labels or vectors, or one for all.
        """
        output = arguments.choice("output", output, ("mean", "sample", "distribution"))
        n = arguments.whole("n", n, 1)
        seed = _new_seed() if seed is None else _seed(seed)
        condition = self._conditions(conditions.for_all(condition, self.condition_shape, n), n)
        z = self.prior_draws(n, seed, condition)
        if output == "mean":
            return in_chunks(self.methods.function(self._decode_mean), z, condition)
        p = self.decode(z, condition)
        if output == "distribution":
            return p
        mean = p.mean()
        size = mean.shape[1:].num_elements()
        uniform = noise.uniform(seed, noise.PIXELS, 0, n, size, mean.dtype)
        return self.likelihood.draw(p, tf.reshape(uniform, mean.shape))

    def terms(self, x, samples: int = 1, seed: int = 0, condition=None, mask=None) -> Terms:
        """The log-densities at `samples` draws of z for each x `[B, *event_shape]`, in nats.

        The draws for example i are a function of (seed, i, samples).
        """
        samples, seed = arguments.whole("samples", samples, 1), _seed(seed)
        batch = self._examples(x, condition, mask)
        found = self._elbo_terms(self.prepared(batch), seed, 0, samples)
        if not is_symbolic(batch.x):
            return found
        axes = {"kl": 0, "kl_per_dim": 0, "kl_per_group": 0, "penalty": 0}  # the others have the samples first
        there = {name: value for name, value in found._asdict().items() if value is not None}
        return found._replace(**{name: self.marked(batch, t, axes.get(name, 1)) for name, t in there.items()})

    def elbo(self, x, seed: int = 0, samples: int = 1, condition=None, mask=None) -> tf.Tensor:
        """The evidence lower bound of each x `[B, *event_shape]`: E_q log p(x|z) - KL, nats, `[B]`.

        The expectation is a mean over `samples` draws; the KL term is the objective's estimate. The draws for example i
        are a function of (seed, i, samples): equal rows have other draws.

        Raises:
            ValueError: for a posterior without a density.
        """
        resolve.check_density(self, "elbo")
        samples, seed = arguments.whole("samples", samples, 1), _seed(seed)
        batch, parts = self._examples(x, condition, mask), []
        for rows in _rows(batch.x):
            part = self.prepared(batch.map(lambda array, rows=rows: array[rows]))
            terms = self.methods.function(self._elbo_terms)(part, *_int64(seed, rows.start), samples)
            parts.append(tf.reduce_mean(terms.log_px_z, axis=0) - self.objective.kl(terms))
        return self._marked(batch, tf.concat(parts, axis=0))

    def impute(
        self, x, mask=None, samples: int = 1000, seed: int = 0, output: str = "mean", condition=None,
        draws: int | None = None,
    ):  # fmt: skip
        """x `[B, *event_shape]` with its missing values filled in, given those that were observed.

        With o and m for observed and missing: p(x_m|x_o) = E_p(z|x_o) p(x_m|z), by importance sampling. The mean is
        sum_k w_k E[x_m|z_k], z_k ~ q(z|x_o), with w_k in proportion to p(x_o|z_k) p(z_k) / q(z_k|x_o).

        Where the effective number of the z_k is only a few, bands of draws are too narrow, and a warning says so.

        Args:
            x: with anything, NaN for example, where it is missing.
            mask: 1 where x was observed; by default where it is not NaN, nor marked as missing.
            samples: how many z for each x, all decoded at once. The draws for example i are a function of (seed, i,
                samples).
            seed: of the draws.
            output: "mean"; "point" for one value of the support: the mean of real numbers, the rounded mean of
                integers, the most likely class, the median grade; or "sample" for a draw: one of the z_k by its weight,
                and x from p(x|z_k).
            condition: as in `encode`.
            draws: how many draws of each x, from one pass, for output="sample": `[draws, B, *event_shape]`; by default
                one, without that axis.

        Raises:
            ValueError: for a posterior that is a point mass; there `reconstruct(x, mask=mask)` is an answer.

        Reference: Mattei, Frellsen (2019), MIWAE: deep generative modelling and imputation of incomplete data sets,
        arXiv 1812.02633.
        """
        resolve.check_continuous(self, "impute")
        output = arguments.choice("output", output, ("mean", "point", "sample"))
        samples, seed = arguments.whole("samples", samples, 1), arguments.seed(seed)
        if draws is not None and output != "sample":
            raise ValueError(f"impute(draws=...) goes with output='sample': the {output} is one.")
        count = 1 if draws is None else arguments.whole("draws", draws, 1)
        if is_symbolic(x):
            raise ValueError("impute is not for compiled functions: call it with arrays.")
        batch = self._examples(x, condition, mask, nan_is_missing=True)
        if batch.mask is None:
            batch = batch._replace(mask=np.ones(np.shape(batch.x), bool))
        found = ImportanceSampler.of(self).imputed(batch, samples, seed, output, count)
        return found[0] if draws is None else found

    # ---- what goes in ----

    def _examples(self, x, condition, mask, nan_is_missing: bool = False) -> Batch:
        """x, condition and mask, converted and checked; symbolic tensors are checked by their shapes."""
        if condition is not None and self.condition_shape is None:
            conditions.prepared(condition, None)  # raises
        _refuse_placeholder("x", x)
        if is_symbolic(x):
            resolve.check_batch(x.dtype, x.shape, self.event_shape)
            return Batch(x, conditions.prepared(condition, self.condition_shape), mask)
        batch = inputs.examples(x, self.likelihood, self.condition_shape, condition, mask, nan_is_missing)
        return batch._replace(condition=conditions.prepared(batch.condition, self.condition_shape))

    def _in_chunks(self, method, batch: Batch) -> tf.Tensor:
        """A method of a batch that is `prepared`, over the examples, some at a time."""
        function = self.methods.function(method)
        return self._marked(batch, in_chunks(lambda *part: function(self.prepared(Batch(*part))), *batch))

    def _marked(self, batch: Batch, result):
        return self.marked(batch, result) if is_symbolic(batch.x) else result

    def _conditions(self, condition, rows: int | None):
        """Conditions for so many rows, checked: `[rows, *condition_shape]`, or None where the model has none."""
        if self.condition_shape is not None and not is_symbolic(condition):
            condition = conditions.checked(condition, self.condition_shape, rows)
        return conditions.prepared(condition, self.condition_shape)

    def _codes(self, z):
        """z as a tensor `[..., B, latent_dim]`, checked."""
        _refuse_placeholder("z", z)
        z = z if is_symbolic(z) else tf.convert_to_tensor(check_rows(z, self.latent_dim))
        if z.shape.rank < 2 or z.shape[-1] != self.latent_dim:
            raise ValueError(f"z must have shape [..., B, {self.latent_dim}], got {tuple(z.shape)}.")
        return tf.cast(z, self.posterior.compute_dtype)


def _refuse_placeholder(name: str, value) -> None:
    if isinstance(value, keras.KerasTensor):
        raise ValueError(f"{name} is a KerasTensor, which has no values. To build a model with it, call vae(x).")


def _rows(x) -> list[slice]:
    """The rows of x, some at a time; all where their number is not known."""
    if x.shape[0] is None:
        return [slice(0, None)]
    return [slice(first, first + ROWS) for first in range(0, x.shape[0], ROWS)]


def _seed(seed):
    """A seed, checked; a symbolic tensor as it is."""
    return seed if is_symbolic(seed) else arguments.seed(seed)


def _new_seed():
    """Another seed each time, by the generator that `keras.utils.set_random_seed` seeds."""
    if tf.executing_eagerly():
        return int(np.random.randint(2**31))
    return tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int64)


def _int64(*numbers) -> list[tf.Tensor]:
    """Numbers as tensors, so that a TensorFlow function is not traced again for each."""
    return [tf.cast(number, tf.int64) if is_symbolic(number) else tf.constant(number, tf.int64) for number in numbers]

"""The variational autoencoder."""

import numbers

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae._environment import VERSION
from kvae.data import checks, conditions
from kvae.data.batch import Batch, call_network
from kvae.data.splits import Split, observed
from kvae.models import resolve
from kvae.models.base import LatentVariableModel
from kvae.models.importance import ImportanceSampler
from kvae.numerics import divergences, noise
from kvae.numerics.arguments import check_at_least
from kvae.numerics.chunks import ROWS, in_chunks
from kvae.numerics.compilation import Programs
from kvae.objectives import Objective, Terms


@keras.saving.register_keras_serializable("kvae")
class VAE(LatentVariableModel):
    """A variational autoencoder: log p(x) >= E_q(z|x) log p(x|z) - KL(q(z|x) || p(z)).

    Args:
        encoder: a built Keras model from x `[B, *event_shape]` to features `[B, F]`.
        decoder: a built Keras model from z `[B, D]` to features: flat, or a map of the event's height and
            width. D is the number of latent dimensions. With networks of two inputs, `[x, condition]` and
            `[z, condition]`, the model is conditional: q(z|x, c) and p(x|z, c). An encoder's input of the name
            "mask" is given the mask of missing values.
        posterior: q(z|x), of `kvae.posteriors`, or its name in snake case.
        likelihood: p(x|z), of `kvae.likelihoods`, or its name. It says which x are allowed.
        prior: p(z), of `kvae.priors`, or its name.
        objective: what is minimised, of `kvae.objectives`, or its name.
        seed: of the noise and of the order of the data. The networks' first weights come from Keras' own
            generator: `keras.utils.set_random_seed`.
        name: the model's name.

    Calling the model gives `reconstruct`: `predict` is deterministic. All log-densities are in nats.

    Raises:
        ValueError: where the networks do not fit each other or the families.

    References: Kingma, Welling (2013), arXiv 1312.6114. Rezende, Mohamed, Wierstra (2014), arXiv 1401.4082.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        posterior="diagonal_normal",
        likelihood="normal",
        prior="standard_normal",
        objective: str | Objective = "elbo",
        seed: int = 0,
        name: str | None = None,
    ):
        resolve.check_network(encoder, "encoder")
        resolve.check_network(decoder, "decoder")
        posterior, resolved = resolve.posterior(posterior), resolve.objective(objective)
        resolve.check_objective(resolved, posterior)
        super().__init__(resolved, seed, with_kl=posterior.has_density, name=name)
        self.encoder, self.decoder = encoder, decoder
        self.event_shape, (self.latent_dim,) = tuple(encoder.inputs[0].shape[1:]), resolve.latent_shape(decoder)
        self.posterior = posterior
        self.likelihood = resolve.likelihood(likelihood)
        self.prior = resolve.prior(prior)
        resolve.build(self.posterior, feature_shape=encoder.output_shape[1:], latent_dim=self.latent_dim)
        resolve.build(self.likelihood, feature_shape=decoder.output_shape[1:], event_shape=self.event_shape)
        self.condition_shape = conditions.shape_of(encoder, decoder, self.prior)
        resolve.build(self.prior, latent_dim=self.latent_dim, condition_shape=self.condition_shape)
        self.built = True
        self.methods = Programs()

    def _noise_size(self):
        return self.posterior.noise_size

    def _terms(self, batch, eps, training=False) -> Terms:
        """From x and noise to the three log-densities."""
        x, condition, mask, weight = batch
        q = self.posterior.distribution(self.encode_features(batch, training))  # encode
        z = self.posterior.draw(q, eps)  # z = g(eps, phi, x): [S, B, D]
        prior = self.prior.distribution(self.encode, condition)
        p = self.likelihood.distribution(self.decode_features(z, condition, training))  # decode
        if training:
            p = self.likelihood.calibrated(x, p, weight, mask)
        return Terms(
            log_px_z=self.likelihood.log_prob(p, x, mask),  # at the input x
            log_pz=prior.log_prob(z),
            log_qz_x=q.log_prob(z) if self.posterior.has_density else None,
            kl=divergences.kl(q, prior),
            kl_per_dim=divergences.kl_per_dim(q, prior),
            z=z,
        )

    def encode_features(self, batch, training=False):
        """The encoder at a batch that is `prepared`: features `[B, F]`."""
        return call_network(self.encoder, batch.x, batch.condition, batch.mask, training)

    def decode_features(self, z, condition=None, training=False):
        """The decoder at z `[..., B, D]` and conditions `[B, *condition_shape]`: `[..., B, *feature_shape]`."""
        if z.shape.rank == 2:
            return call_network(self.decoder, z, condition, training=training)
        lead = tf.shape(z)[:-1]
        if condition is not None:
            condition = tf.broadcast_to(condition, tf.concat([lead, self.condition_shape], axis=0))
            condition = tf.reshape(condition, [-1, *self.condition_shape])
        flat = call_network(self.decoder, tf.reshape(z, [-1, self.latent_dim]), condition, training=training)
        return tf.reshape(flat, tf.concat([lead, tf.shape(flat)[1:]], axis=0))

    def _elbo_terms(self, batch, seed, first, samples):
        return self._terms(batch, self._noise(seed, noise.DRAWS, first, tf.shape(batch.x)[0], samples))

    def _decode_mean(self, z, condition):
        return self.likelihood.distribution(self.decode_features(z, condition)).mean()

    def prior_draws(self, n: int, seed: int, condition=None) -> tf.Tensor:
        """The z that `sample(n, seed, condition=condition)` decodes, `[n, latent_dim]`; conditions are `prepared`."""
        return self.methods.function(self._prior_draws)(condition, *_int64(seed), tf.constant(n))

    def _prior_draws(self, condition, seed, n):
        eps = noise.normal(seed, noise.DRAWS, 0, n, self.prior.noise_size, self.prior.compute_dtype)
        return self.prior.draw(self.prior.distribution(self.encode, condition), eps)

    def call(self, x, condition=None, training=False):
        """The mean of p(x | E q(z|x)), `[B, *event_shape]`."""
        if condition is not None and self.condition_shape is None:
            conditions.prepared(condition, None)  # raises
        return self._reconstruct(self.prepared(Batch(x, condition)), training)

    def _reconstruct(self, batch, training=False):
        mean = self.posterior.distribution(self.encode_features(batch, training)).mean()
        return self.likelihood.distribution(self.decode_features(mean, batch.condition, training)).mean()

    # ---- public, deterministic ----

    def encode(self, x, condition=None, mask=None) -> tfd.Distribution:
        """q(z|x) for x `[B, *event_shape]`: batch `[B]`, event `[latent_dim]`. Deterministic.

        Here and below, `condition` is for a conditional model: labels `[B]` or vectors `[B, *condition_shape]`, by
        default a split's own labels; `mask` `[B, *event_shape]` is 1 where x was observed.
        """
        batch, features = self._examples(x, condition, mask), self.methods.function(self.encode_features)
        return self.posterior.distribution(in_chunks(lambda *part: features(self.prepared(Batch(*part))), *batch))

    def decode(self, z, condition=None) -> tfd.Distribution:
        """p(x|z) for z `[..., latent_dim]`: batch `[...]`, event `event_shape`. Deterministic.

        Conditions belong to the last axis of the batch: z `[..., B, latent_dim]`.
        """
        z = tf.convert_to_tensor(z)
        if z.shape.rank == 0 or z.shape[-1] != self.latent_dim:
            raise ValueError(f"z must have shape [..., {self.latent_dim}], got {tuple(z.shape)}.")
        z, features = tf.cast(z, self.posterior.compute_dtype), self.methods.function(self.decode_features)
        condition = self._conditions(condition, z.shape[-2] if z.shape.rank > 1 else 1)
        if condition is not None and z.shape.rank != 2:
            return self.likelihood.distribution(features(z, condition))
        return self.likelihood.distribution(in_chunks(features, z, condition))

    def reconstruct(self, x, condition=None, mask=None) -> tf.Tensor:
        """The mean of p(x | E q(z|x)), `[B, *event_shape]`; what `predict` gives. Deterministic."""
        batch, function = self._examples(x, condition, mask), self.methods.function(self._reconstruct)
        return in_chunks(lambda *part: function(self.prepared(Batch(*part))), *batch)

    # ---- public, random by a seed ----

    def sample(self, n: int, seed: int, output: str = "mean", condition=None):
        """Draw z from the prior and decode it.

        Args:
            n: how many.
            seed: of the draw; the same seed gives the same samples.
            output: "mean" for the means of p(x|z), "sample" for a draw from p(x|z), both
                `[n, *event_shape]`; "distribution" for p(x|z) itself.
            condition: of a conditional model: n labels or vectors, or one label for all.
        """
        if output not in ("mean", "sample", "distribution"):
            raise ValueError(f"output must be 'mean', 'sample' or 'distribution', got {output!r}.")
        check_at_least(1, n=n)
        condition = self._conditions(np.full(n, condition) if isinstance(condition, numbers.Integral) else condition, n)
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
        check_at_least(1, samples=samples)
        return self._elbo_terms(self.prepared(self._examples(x, condition, mask)), seed, 0, samples)

    def elbo(self, x, seed: int = 0, samples: int = 1, condition=None, mask=None) -> tf.Tensor:
        """The evidence lower bound of each x `[B, *event_shape]`: E_q log p(x|z) - KL, nats, `[B]`.

        The expectation is a mean over `samples` draws; the KL term is the objective's estimate.

        Raises:
            ValueError: for a posterior without a density.
        """
        resolve.check_density(self, "elbo")
        batch, parts = self._examples(x, condition, mask), []
        for first in range(0, batch.x.shape[0], ROWS):
            part = self.prepared(batch.map(lambda array, rows=slice(first, first + ROWS): array[rows]))
            terms = self.methods.function(self._elbo_terms)(part, *_int64(seed, first), samples)
            parts.append(tf.reduce_mean(terms.log_px_z, axis=0) - self.objective.kl(terms))
        return tf.concat(parts, axis=0)

    def impute(self, x, mask=None, samples: int = 1000, seed: int = 0, output: str = "mean", condition=None):
        """x `[B, *event_shape]` with its missing values filled in, given those that were observed.

        With o and m for observed and missing: p(x_m|x_o) = E_p(z|x_o) p(x_m|z), by importance sampling. The mean is
        sum_k w_k E[x_m|z_k], z_k ~ q(z|x_o), with w_k in proportion to p(x_o|z_k) p(z_k) / q(z_k|x_o).

        Args:
            x: with anything, NaN for example, where it is missing.
            mask: 1 where x was observed; by default where it is not NaN.
            samples: how many z for each x, all decoded at once. The draws for example i are a function of (seed, i,
                samples).
            seed: of the draws.
            output: "mean", or "sample" for a draw: one of the z_k by its weight, and x from p(x|z_k).
            condition: as in `encode`.

        Raises:
            ValueError: for a posterior without a density; there `reconstruct(x, mask=mask)` is an answer.

        Reference: Mattei, Frellsen (2019), MIWAE: deep generative modelling and imputation of incomplete data sets,
        arXiv 1812.02633.
        """
        resolve.check_density(self, "impute")
        if output not in ("mean", "sample"):
            raise ValueError(f"output must be 'mean' or 'sample', got {output!r}.")
        check_at_least(1, samples=samples)
        batch = self._examples(x, condition, mask)
        x = np.asarray(batch.x)
        mask = ~np.isnan(x) if batch.mask is None else batch.mask
        checks.check_values(x, mask, self.likelihood)
        return ImportanceSampler.of(self).imputed(batch._replace(x=x, mask=mask), samples, seed, output)

    def _examples(self, x, condition, mask) -> Batch:
        """x, condition and mask, checked. NumPy arrays stay NumPy arrays, to be copied chunk by chunk."""
        if isinstance(x, (dict, tuple)):
            raise ValueError(f"x is a {type(x).__name__}. Give x by itself, with condition= and mask= beside it.")
        if isinstance(x, Split):
            condition = x.y if condition is None and self.condition_shape is not None else condition
            x, mask = x.x, x.mask if mask is None else mask
        x = x if isinstance(x, np.ndarray) and x.dtype.kind in "buif" else tf.convert_to_tensor(x)
        resolve.check_batch(tf.as_dtype(x.dtype), x.shape, self.event_shape)
        return Batch(x, self._conditions(condition, x.shape[0]), None if mask is None else observed(mask, x.shape))

    def _conditions(self, condition, rows: int):
        """Conditions for so many rows, checked: `[rows, *condition_shape]`, or None where the model has none."""
        if self.condition_shape is not None:
            condition = conditions.checked(condition, self.condition_shape, rows)
        return conditions.prepared(condition, self.condition_shape)

    # ---- files ----

    def export(self, filepath, format="tf_saved_model", **kwargs) -> str:
        """Write a SavedModel for serving, see `kvae.export.saved_model`; other formats are Keras'."""
        if format != "tf_saved_model":
            super().export(filepath, format=format, **kwargs)
            return str(filepath)
        from kvae.export import saved_model  # the one import from a subpackage above

        return saved_model(self, filepath, **kwargs)

    def get_config(self):
        """The constructor's arguments, serialised, and the version of kvae."""
        parts = ("encoder", "decoder", "posterior", "likelihood", "prior", "objective")
        config = {part: keras.saving.serialize_keras_object(getattr(self, part)) for part in parts}
        return config | {"seed": self.seed, "name": self.name, "kvae_version": VERSION}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The model that `get_config` described."""
        config = {key: value for key, value in config.items() if key != "kvae_version"}
        for key, value in config.items():
            if isinstance(value, dict):
                config[key] = keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
        return cls(**config)


def _int64(*numbers) -> list[tf.Tensor]:
    """Numbers as tensors, so that a TensorFlow function is not traced again for each."""
    return [tf.constant(number, tf.int64) for number in numbers]

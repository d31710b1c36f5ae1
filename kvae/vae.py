"""The variational autoencoder."""

import math

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from kvae import export as exporting
from kvae import families, noise, resolve
from kvae.loop import Programs
from kvae.model import LatentVariableModel
from kvae.objectives import Objective, Terms
from kvae.parts import ROWS, in_parts, looped
from kvae.splits import Split

_FLOATS_IN_CACHE = 1_000_000  # of the decoder's widest layer


@keras.saving.register_keras_serializable("kvae")
class VAE(LatentVariableModel):
    """A variational autoencoder: log p(x) >= E_q(z|x) log p(x|z) - KL(q(z|x) || p(z)).

    Args:
        encoder: a built Keras model from x `[B, *event_shape]` to features `[B, F]`.
        decoder: a built Keras model from z `[B, D]` to features: flat, or a map of the event's height and
            width. D is the number of latent dimensions.
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
        super().__init__(resolve.objective(objective), seed, name=name)
        self.encoder, self.decoder = encoder, decoder
        self.event_shape, (self.latent_dim,) = encoder.input_shape[1:], resolve.latent_shape(decoder)
        self.posterior = resolve.posterior(posterior)
        self.likelihood = resolve.likelihood(likelihood)
        self.prior = resolve.prior(prior)
        resolve.build(self.posterior, feature_shape=encoder.output_shape[1:], latent_dim=self.latent_dim)
        resolve.build(self.likelihood, feature_shape=decoder.output_shape[1:], event_shape=self.event_shape)
        resolve.build(self.prior, latent_dim=self.latent_dim)
        self.built = True
        self._methods = Programs()

    def _function(self, method):
        """A method as a TensorFlow function, traced once for all batch sizes."""
        return self._methods.get(method.__name__, lambda: tf.function(method, reduce_retracing=True))

    def _noise_size(self):
        return self.latent_dim

    def _terms(self, x, eps, weight=None, training=False) -> Terms:
        """Algorithm of source document 001, section 7: from x and noise to the three log-densities."""
        q = self.posterior.distribution(self.encoder(x, training=training))  # encode
        z = q.bijector.forward(eps)  # z = g(eps, phi, x), eq. 8 and 26: [S, B, D]
        prior = self.prior.distribution(self.encode)
        p = self.likelihood.distribution(self._decode_features(z, training))  # decode
        if training:
            p = self.likelihood.calibrated(x, p, weight)
        return Terms(
            log_px_z=p.log_prob(x),  # at the input x
            log_pz=prior.log_prob(z),
            log_qz_x=q.log_prob(z),  # eq. 29
            kl=families.kl(q, prior),
            kl_per_dim=families.kl_per_dim(q, prior),
            z=z,
        )

    def _encode_features(self, x):
        return self.encoder(x, training=False)

    def _decode_features(self, z, training=False):
        """The decoder at z `[..., D]`: features `[..., *feature_shape]`."""
        if z.shape.rank == 2:
            return self.decoder(z, training=training)
        flat = self.decoder(tf.reshape(z, [-1, self.latent_dim]), training=training)
        return tf.reshape(flat, tf.concat([tf.shape(z)[:-1], tf.shape(flat)[1:]], axis=0))

    def _elbo_terms(self, x, seed, first, samples):
        return self._terms(x, self._noise(seed, noise.DRAWS, first, tf.shape(x)[0], samples))

    def _draw_terms(self, x, features, eps, at_a_time=None):
        q, prior = self.posterior.distribution(features), self.prior.distribution(self.encode)
        z = q.bijector.forward(tf.transpose(eps, [1, 0, 2]))

        def log_px_z(z):
            return self.likelihood.distribution(self._decode_features(z)).log_prob(x)

        decoded = log_px_z(z) if at_a_time is None else looped(log_px_z, z, at_a_time)
        return decoded, prior.log_prob(z) - q.log_prob(z)

    def _compiled_draw_terms(self, x, features, eps):
        in_cache = max(1, _FLOATS_IN_CACHE // (self.widest * len(x)))
        return self._draw_terms(x, features, eps, at_a_time=in_cache)

    def _decode_mean(self, z):
        return self.likelihood.distribution(self._decode_features(z)).mean()

    def _prior_draws(self, seed, n):
        eps = noise.normal(seed, noise.DRAWS, 0, n, self.latent_dim, self.prior.compute_dtype)
        return self.prior.distribution(self.encode).bijector.forward(eps)

    def _importance_noise(self, seed, first, examples, count):
        eps = noise.normal(
            seed, noise.IMPORTANCE, first, examples * count, self.latent_dim, self.posterior.compute_dtype
        )
        return tf.reshape(eps, [examples, count, self.latent_dim])

    def call(self, x, training=False):
        """The mean of p(x | E q(z|x)), `[B, *event_shape]`."""
        mean = self.posterior.distribution(self.encoder(x, training=training)).mean()
        return self.likelihood.distribution(self.decoder(mean, training=training)).mean()

    # ---- for estimators (`kvae.evaluate`) ----

    @property
    def widest(self) -> int:
        """The most numbers that one example is anywhere in the decoder."""
        layers = [layer for layer in self.decoder._flatten_layers() if layer._inbound_nodes]
        shapes = [tensor.shape[1:] for layer in layers for tensor in keras.tree.flatten(layer.output)]
        known = [shape for shape in shapes if None not in shape]
        return max(math.prod(shape) for shape in [*known, self.event_shape, (self.latent_dim,)])

    def encode_features(self, x) -> tf.Tensor:
        """The encoder's features for x `[B, *event_shape]`."""
        return self._function(self._encode_features)(tf.cast(x, self.likelihood.compute_dtype))

    def closed_form_kl(self, q) -> tf.Tensor | None:
        """KL(q || prior) in nats, or None where it has no closed form."""
        return families.kl(q, self.prior.distribution(self.encode))

    def draw_terms(
        self, x, features, seed: int, first: int, count: int, jit: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """log p(x|z) and log p(z) - log q(z|x), both `[count, B]`, at draws number `first`, `first + 1`, ...

        Example i has the draws first + i * count and on, so that one example's draws can be taken in parts. With
        `jit` XLA compiles it, once for every B and count (float32 only).
        """
        x = tf.cast(x, self.likelihood.compute_dtype)
        if not jit or x.dtype != tf.float32:
            sizes = tf.constant(len(x)), tf.constant(count)
            eps = self._function(self._importance_noise)(*_int64(seed, first), *sizes)
            return self._function(self._draw_terms)(x, features, eps)
        eps = noise.many_normals(seed, noise.IMPORTANCE, first, len(x) * count, self.latent_dim)
        compiled = self._methods.get("jit", lambda: tf.function(self._compiled_draw_terms, jit_compile=True))
        return compiled(x, features, tf.reshape(eps, [len(x), count, self.latent_dim]))

    # ---- public, deterministic ----

    def encode(self, x) -> tfd.Distribution:
        """q(z|x) for x `[B, *event_shape]`: batch `[B]`, event `[latent_dim]`. Deterministic."""
        dtype = self.likelihood.compute_dtype
        features = self._function(self._encode_features)
        return self.posterior.distribution(in_parts(lambda part: features(tf.cast(part, dtype)), self._examples(x)))

    def decode(self, z) -> tfd.Distribution:
        """p(x|z) for z `[..., latent_dim]`: batch `[...]`, event `event_shape`. Deterministic."""
        z = tf.convert_to_tensor(z)
        if z.shape.rank == 0 or z.shape[-1] != self.latent_dim:
            raise ValueError(f"z must have shape [..., {self.latent_dim}], got {tuple(z.shape)}.")
        z = tf.cast(z, self.posterior.compute_dtype)
        return self.likelihood.distribution(in_parts(self._function(self._decode_features), z))

    def reconstruct(self, x) -> tf.Tensor:
        """The mean of p(x | E q(z|x)), `[B, *event_shape]`; what `predict` gives. Deterministic."""
        return in_parts(self._function(self._decode_mean), self.encode(x).mean())

    def predict(self, x, **kwargs):
        """`reconstruct` by Keras' own loop, in batches, with callbacks: a NumPy array."""
        with self._without_jit():
            return super().predict(x.dataset(shuffle=False) if isinstance(x, Split) else x, **kwargs)

    # ---- public, random by a seed ----

    def sample(self, n: int, seed: int, output: str = "mean"):
        """Draw z from the prior and decode it.

        Args:
            n: how many.
            seed: of the draw; the same seed gives the same samples.
            output: "mean" for the means of p(x|z), "sample" for a draw from p(x|z), both
                `[n, *event_shape]`; "distribution" for p(x|z) itself.
        """
        if output not in ("mean", "sample", "distribution"):
            raise ValueError(f"output must be 'mean', 'sample' or 'distribution', got {output!r}.")
        if n < 1:
            raise ValueError(f"sample needs n >= 1, got {n}.")
        z = self._function(self._prior_draws)(*_int64(seed), tf.constant(n))
        if output == "mean":
            return in_parts(self._function(self._decode_mean), z)
        p = self.decode(z)
        if output == "distribution":
            return p
        mean = p.mean()
        size = mean.shape[1:].num_elements()
        uniform = noise.uniform(seed, noise.PIXELS, 0, n, size, mean.dtype)
        return self.likelihood.draw(p, tf.reshape(uniform, mean.shape))

    def terms(self, x, samples: int = 1, seed: int = 0) -> Terms:
        """The log-densities at `samples` draws of z for each x `[B, *event_shape]`, in nats.

        The draws for example i are a function of (seed, i, samples).
        """
        if samples < 1:
            raise ValueError(f"terms needs samples >= 1, got {samples}.")
        return self._elbo_terms(tf.cast(self._examples(x), self.likelihood.compute_dtype), seed, 0, samples)

    def elbo(self, x, seed: int = 0, samples: int = 1) -> tf.Tensor:
        """The evidence lower bound of each x `[B, *event_shape]`: E_q log p(x|z) - KL, nats, `[B]`.

        The expectation is a mean over `samples` draws; the KL term is the objective's estimate.
        """
        x = self._examples(x)
        parts = []
        for first in range(0, x.shape[0], ROWS):
            part = tf.cast(x[first : first + ROWS], self.likelihood.compute_dtype)
            terms = self._function(self._elbo_terms)(part, *_int64(seed, first), samples)
            parts.append(tf.reduce_mean(terms.log_px_z, axis=0) - self.objective.kl(terms))
        return tf.concat(parts, axis=0)

    def _examples(self, x):
        """x, checked; arrays stay arrays, to be copied part by part."""
        x = x.x if isinstance(x, Split) else x
        x = x if isinstance(x, np.ndarray) and x.dtype.kind in "buif" else tf.convert_to_tensor(x)
        resolve.check_batch(tf.as_dtype(x.dtype), x.shape, self.event_shape)
        return x

    # ---- files ----

    def export(self, filepath, format="tf_saved_model", **kwargs) -> str:
        """Write a SavedModel for serving, see `kvae.export.saved_model`; other formats are Keras'."""
        if format != "tf_saved_model":
            super().export(filepath, format=format, **kwargs)
            return str(filepath)
        return exporting.saved_model(self, filepath, **kwargs)

    def get_config(self):
        """The constructor's arguments, serialised, and the version of kvae."""
        parts = ("encoder", "decoder", "posterior", "likelihood", "prior", "objective")
        config = {part: keras.saving.serialize_keras_object(getattr(self, part)) for part in parts}
        return config | {"seed": self.seed, "name": self.name, "kvae_version": resolve.VERSION}

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

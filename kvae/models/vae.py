"""The variational autoencoder."""

import keras
import tensorflow as tf

from kvae._environment import VERSION
from kvae.data import conditions
from kvae.data.batch import call_network
from kvae.models import resolve
from kvae.models.inference import Inference
from kvae.models.part_checks import check_parts
from kvae.models.prior_fitting import PriorFit, fit_prior
from kvae.models.saving import check_saved, save_whole
from kvae.numerics import arguments, divergences
from kvae.numerics.path_gradients import WeightedPath
from kvae.objectives import Objective, Terms
from kvae.training.trackers import Trackers

_FORMATS = ("tf_saved_model", "onnx", "openvino", "litert", "torch")


@keras.saving.register_keras_serializable("kvae")
class VAE(Inference):
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
        ValueError: where the networks do not fit each other or the families, or a part of one's own gives
            distributions of the wrong shape.

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
        super().__init__(resolved, seed, name=name)
        self.encoder, self.decoder = encoder, decoder
        self.event_shape, (self.latent_dim,) = tuple(encoder.inputs[0].shape[1:]), resolve.latent_shape(decoder)
        self.posterior = posterior
        self.likelihood = resolve.likelihood(likelihood)
        self.prior = resolve.prior(prior)
        resolve.build(self.posterior, feature_shape=encoder.output_shape[1:], latent_dim=self.latent_dim)
        resolve.build(self.likelihood, feature_shape=decoder.output_shape[1:], event_shape=self.event_shape)
        self.condition_shape = conditions.shape_of(encoder, decoder, self.prior)
        resolve.build_prior(self.prior, self)
        self.posterior.pair(self.prior)
        further = self.likelihood.trackers() | self.posterior.trackers() | resolved.trackers()
        self.trackers = Trackers(resolved.scheduled(tf.constant(0, tf.int64)), posterior.has_density, further)
        self.built = True
        self.renew()
        check_parts(self)

    def _noise_size(self):
        return self.posterior.noise_size + self.prior.noise_size * self.objective.needs_prior_draws

    def _terms(self, batch, eps, training=False) -> Terms:
        """From x and noise to the three log-densities."""
        x, condition, mask, weight = batch
        parameters = self.encode_parameters(batch, training)
        q = self.posterior.of(parameters)
        eps, prior_eps = eps[..., : self.posterior.noise_size], eps[..., self.posterior.noise_size :]
        z, log_qz_x = self.posterior.drawn(q, eps)  # z = g(eps, phi, x): [S, B, D]
        path = WeightedPath() if training and self.objective.path_gradient else None
        if path is not None:
            z = path(z)
            log_qz_x = self.posterior.of(tf.stop_gradient(parameters)).log_prob(z)
        prior = self.prior_distribution(condition)
        p = self.likelihood.distribution(self.decode_features(z, condition, training))  # decode
        details, needs = None, {}
        if weight is not None:  # a step
            needs = self._needs(q, prior, z, prior_eps)
        if training:
            p = self.likelihood.calibrated(x, p, weight, mask)
        if weight is not None:
            details = self.likelihood.details(p, x, mask)
        terms = Terms(
            log_px_z=self.likelihood.log_prob(p, x, mask),  # at the input x
            log_pz=prior.log_prob(z),
            log_qz_x=log_qz_x,
            kl=divergences.kl(q, prior),
            kl_per_dim=divergences.kl_per_dim(q, prior),
            z=z,
            penalty=self.posterior.penalty(q),
            kl_per_group=divergences.kl_per_group(q, prior, z),
            **needs,
        )
        if details is not None:
            terms = terms._replace(details=details | self.posterior.details(q, terms))
        if path is not None:
            path.weight = self.objective.path_weight(terms)
        if training:
            self.posterior.update(q, weight)  # after the terms, which are those of the weights before
        return terms

    def _needs(self, q, prior, z, prior_eps) -> dict:
        """What the objective needs beside the usual `Terms`: names to tensors; prior_eps `[S, B, noise size]`."""
        found = {}
        if self.objective.needs_pairs:
            found["log_qz_pairs"] = divergences.pairs(q, z)
        if self.objective.needs_prior_draws:
            found["prior_z"] = tf.stack([self.prior.draw(prior, eps) for eps in tf.unstack(prior_eps)])
        return found

    def prior_distribution(self, condition=None):
        """p(z), or p(z|c) for conditions that are `prepared`."""
        return self.prior.distribution(self._encode_seen, condition)

    def _encode_seen(self, seen, condition=None):
        return self.posterior.distribution(call_network(self.encoder, seen, condition))

    def encode_features(self, batch, training=False):
        """The encoder at a batch that is `prepared`: features `[B, F]`."""
        return call_network(self.encoder, self.likelihood.seen(batch.x), batch.condition, batch.mask, training)

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

    # ---- the prior after training ----

    def fit_prior(
        self, data, prior=None, validation_data=None, steps: int = 2000, batch_size: int = 512,
        learning_rate: float = 3e-3, samples: int = 5, seed: int | None = None,
    ) -> PriorFit:  # fmt: skip
        """Fit a prior to the codes of data, with the networks held fixed, and put it in the place of the model's own.

        It maximises the mean over the data of E_q(z|x) log p(z). So it brings p(z) to the codes' distribution, from
        which samples then come, and the ELBO rises by the gain. All that follows uses the new prior: `evaluate`,
        `kvae.evaluate`, `sample`, `save`, `export`, and `fit`, which trains it on with the rest; what the optimizer
        knows of the other weights stays.

        A `MixtureOfNormals` is fitted at once, by expectation maximisation. Other priors are fitted by steps of Adam,
        whose rate falls to zero. A prior without weights is put in as it is. In an autoencoder the prior is fitted to
        the codes, for samples; the model still has no ELBO.

        Args:
            data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches: the training data.
            prior: a new prior, of `kvae.priors`, or its name; by default the model's own is fitted again.
            validation_data: what the gain is measured on, by default `data`. The weights that are best on it are kept;
                by default those that are best on a tenth of `data`, which the seed holds out (of few examples more,
                up to a quarter).
            steps: of Adam, rounded up to whole passes over the data. Each pass draws new z.
            batch_size: codes in a step.
            learning_rate: of the first step.
            samples: draws of z for each example that an expectation maximisation sees, and that the gain is measured
                with.
            seed: of the draws and the order; by default the model's. The first weights of a prior come from Keras' own
                generator, where they count.

        Returns:
            the mean of log p(z) `before` and `after`, the `gain` and its `standard_error`, the `history`, and the
            `best_step`, whose weights were kept; nats.

        Raises:
            ValueError: for a prior without weights that is to be fitted again, one that belongs to another model, or
                one that the objective cannot take.
            FloatingPointError: where log p(z) stops being finite. After an error the model is as it was.
        """
        steps, batch_size = arguments.whole("steps", steps, 1), arguments.whole("batch_size", batch_size, 1)
        learning_rate = arguments.number("learning_rate", learning_rate, above=0.0)
        samples = arguments.whole("samples", samples, 1)
        seed = self.seed if seed is None else arguments.seed(seed)
        with self._alone("fit_prior"):
            return fit_prior(self, data, prior, validation_data, steps, batch_size, learning_rate, samples, seed)

    # ---- files ----

    def save(self, filepath, overwrite=True, zipped=None, **kwargs):
        """Write a `.keras` file, as `keras.Model.save` does, under a temporary name that is then renamed.

        Raises:
            ValueError: for what is no path of a file, and for networks that share a layer: Keras would write it twice,
                and could not read it.
            OSError: where nothing can be written there, or the disk is full. The file that was there is still whole.
        """
        path, overwrite = arguments.path("filepath", filepath), arguments.flag("overwrite", overwrite)
        if zipped is not None and not arguments.flag("zipped", zipped):
            raise ValueError("A .keras file is zipped: leave zipped=False out.")
        check_saved(self, path)
        save_whole(super().save, path, overwrite, zipped=zipped, **kwargs)

    def export(self, filepath, format="tf_saved_model", **kwargs) -> str:
        """Write a SavedModel for serving, see `kvae.export.saved_model`; other formats are Keras'."""
        if arguments.choice("format", format, _FORMATS) != "tf_saved_model":
            filepath = arguments.path("filepath", filepath)
            super().export(filepath, format=format, **kwargs)
            return str(filepath)
        from kvae.export import saved_model  # the one import from a subpackage above

        return saved_model(self, filepath, **kwargs)

    def get_config(self):
        """The constructor's arguments, serialised, and the version of kvae."""
        parts = ("encoder", "decoder", "posterior", "likelihood", "prior", "objective")
        config = {part: keras.saving.serialize_keras_object(getattr(self, part)) for part in parts}
        config |= {"seed": self.seed, "name": self.name, "kvae_version": VERSION}
        return config if self.trainable else config | {"trainable": False}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The model that `get_config` described."""
        trainable = config.get("trainable", True)
        config = {key: value for key, value in config.items() if key not in ("kvae_version", "trainable")}
        for key, value in config.items():
            if isinstance(value, dict):
                config[key] = keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
        model = cls(**config)
        if not trainable:
            model.trainable = False
        return model

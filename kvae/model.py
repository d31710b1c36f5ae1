"""One step of training and of evaluation, once for every latent-variable model."""

import keras
import tensorflow as tf

from kvae import conditions, feed, noise
from kvae.families import Likelihood, Posterior, Prior
from kvae.objectives import Objective, Terms
from kvae.trackers import Faults, Trackers
from kvae.trainer import Trainer


class LatentVariableModel(Trainer):
    """Abstract: a Keras model that is trained on the `Terms` of its batches.

    A leaf says how terms come about (`_terms`); trackers, noise, the steps and the fast path for arrays stand
    here. Natural logarithms, nats; sums over the event, means over examples.

    Attributes:
        seed: of the noise and of the order of the data.
        draws, passes, position, pass_length: int64 weights, saved with the model: noise draws made in training,
            passes over the data completed, batches done in the pass at hand, and its number of batches. They make
            a resumed run exact.
        trackers, faults: what is counted, see `kvae.trackers`.
    """

    objective: Objective
    posterior: Posterior
    likelihood: Likelihood
    prior: Prior
    condition_shape: tuple[int, ...] | None

    def __init__(self, objective: Objective, seed: int, with_kl: bool = True, name: str | None = None):
        super().__init__(name=name)
        self.objective, self.seed = objective, int(seed)
        names = ("draws", "passes", "position", "pass_length")
        self.draws, self.passes, self.position, self.pass_length = (self._counter(name) for name in names)
        self.trackers = Trackers(objective.beta(tf.constant(0, tf.int64)) is not None, with_kl)
        self.faults, self.test_faults = Faults(), Faults()
        self.seen = keras.metrics.Sum(name="seen", dtype="int64")  # examples of this evaluation so far

    def _counter(self, name):
        return self.add_weight(name=name, shape=(), dtype="int64", initializer="zeros", trainable=False)

    # ---- to be said by the leaf ----

    def _noise_size(self) -> int:
        raise NotImplementedError

    def _terms(self, x, eps, condition=None, weight=None, training=False) -> Terms:
        """The terms for x `[B, *event_shape]`, noise eps `[S, B, noise size]` and prepared conditions."""
        raise NotImplementedError

    # ---- one step, for training and evaluation alike ----

    @property
    def metrics(self):
        """The trackers: loss, elbo, reconstruction, kl, and beta where it moves; see `kvae.trackers`."""
        return self.trackers.metrics

    def train_step(self, data):
        """One optimizer step on a batch of a pipeline, as Keras calls it."""
        x, condition, weight = feed.unpack(data)
        with tf.control_dependencies([x]):  # a pipeline that fails leaves the counter alone
            self.draws.assign_add(1)
        with noise.under_xla(bool(self.jit_compile) and not tf.executing_eagerly()):
            self.step(x, condition, weight, training=True, checked=False)
        return self.trackers.logs()

    def test_step(self, data):
        """One evaluation step on a batch of a pipeline, as Keras calls it."""
        x, condition, weight = feed.unpack(data)
        self.step(x, condition, weight, training=False, checked=False)
        return self.trackers.logs()

    def step(self, x, condition=None, weight=None, training=False, checked=True):
        """One step on x `[B, *event_shape]` with weights `[B]`; `checked`: x is known to be in the support.

        A model that is not conditional leaves `condition`, which may be a label, alone.
        """
        feed.check_shape(x.shape, self.event_shape)
        given = None if self.condition_shape is None else conditions.prepared(condition, self.condition_shape)
        x = tf.cast(x, self.likelihood.compute_dtype)
        rows = x.shape[0] or tf.shape(x)[0]
        weight = tf.ones([rows]) if weight is None else tf.cast(weight, tf.float32)
        feed.check_weight(weight)
        if training:
            seed, stream, first = self.seed + _replica() * 1000003, self.draws.value, 0
        else:
            seed, stream, first = self.seed, noise.EVALUATION, self.seen.result()
            self.seen.update_state(rows)
        eps = self._noise(seed, stream, first, rows, self.objective.samples)
        if not training:
            self._step(x, given, weight, eps, False, checked)
            return
        self._seed_layers()
        with tf.GradientTape() as tape:
            loss = self.optimizer.scale_loss(self._step(x, given, weight, eps, True, checked))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))

    def _seed_layers(self):
        """Give random layers, such as Dropout, the step's own noise: Keras does not save where theirs stands."""
        for number, generator in enumerate(self._generators()):
            state = tf.stack([tf.cast(self.seed * 1000003 + number, tf.int64), self.draws.value * 65536])
            generator.state.assign(tf.cast(tf.bitwise.bitwise_and(state, 0x7FFFFFFF), generator.state.dtype))

    def _generators(self) -> list[keras.random.SeedGenerator]:
        layers = [layer for network in (self.encoder, self.decoder) for layer in network._flatten_layers()]
        found = [generator for layer in layers for generator in layer._seed_generators]
        return list(dict.fromkeys(found))  # a layer used twice counts once

    def _step(self, x, condition, weight, eps, training, checked):
        """Terms, loss and trackers of a batch; the loss to differentiate is sum(w loss) / batch size."""
        terms = self._terms(x, eps, condition, weight, training)
        iteration = tf.convert_to_tensor(self.optimizer.iterations)
        reconstruction = tf.reduce_mean(terms.log_px_z, axis=0)
        kl = self.objective.kl(terms) if self.trackers.with_kl else None
        penalty = tf.add_n([tf.cast(p, reconstruction.dtype) for p in self.losses]) if self.losses else 0.0
        loss = self.objective.loss(terms, iteration)  # [B]
        self.trackers.update(loss + penalty, reconstruction, kl, self.objective.beta(iteration), weight)
        outside = False if checked else tf.reduce_any(self.likelihood.support.outside(x))
        bad = [_not_finite(reconstruction), False if kl is None else _not_finite(kl)]
        if training:
            self.faults.update_state(self.draws.value, *bad, outside)
        else:
            self.test_faults.update_state(1, *bad, outside)
        examples = _over_replicas(tf.cast(tf.shape(loss)[0], loss.dtype))
        return tf.reduce_sum(tf.cast(weight, loss.dtype) * loss) / examples + penalty / _replicas()

    def _noise(self, seed, stream, first, rows, samples):
        """Standard normal noise `[S, B, noise size]`; that of an example depends on its number alone."""
        size = self._noise_size()
        eps = noise.normal(seed, stream, first, rows, samples * size, self.likelihood.compute_dtype)
        if samples == 1:
            return eps[None]
        return tf.transpose(tf.reshape(eps, [rows, samples, size]), [1, 0, 2])


def _not_finite(term):
    return tf.logical_not(tf.reduce_all(tf.math.is_finite(term)))


def _replica():
    context = tf.distribute.get_replica_context()
    return 0 if context is None else tf.cast(context.replica_id_in_sync_group, tf.int64)


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def _over_replicas(value):
    """The sum of a value over the replicas, such as the size of the global batch."""
    if _replicas() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)

"""One step of training and of evaluation, once for every latent-variable model."""

import keras
import tensorflow as tf

from kvae.data import checks, conditions, inputs, statistics
from kvae.data.batch import Batch, unpack
from kvae.numerics import arguments, noise, replicas
from kvae.numerics.compilation import gradient_barrier
from kvae.objectives import Objective, Terms
from kvae.training.counter import Counter
from kvae.training.trackers import Faults, Trackers
from kvae.training.trainer import Trainer


class LatentVariableModel(Trainer):
    """Abstract: a Keras model that is trained on the `Terms` of its batches.

    A subclass computes the terms (`_terms`). This class has trackers, noise, the steps and the fast path for arrays.
    Natural logarithms, nats; sums over the event, means over examples.

    Attributes:
        seed: of the noise and of the order of the data.
        draws, passes, position, pass_length: int64 weights, saved with the model: noise draws made in training,
            passes over the data completed, batches done in the pass at hand, and its number of batches. They make
            a resumed run exact.
        trackers, faults: what is counted, see `kvae.training.trackers`.
    """

    def __init__(self, objective: Objective, seed: int, name: str | None = None):
        super().__init__(name=arguments.label("name", name))
        self.objective, self.seed = objective, arguments.seed(seed)
        names = ("draws", "passes", "position", "pass_length")
        self.draws, self.passes, self.position, self.pass_length = (self._counter(name) for name in names)
        self.trackers: Trackers  # the subclass makes them: they depend on the parts
        self.faults, self.test_faults = Faults(), Faults()
        self.seen = keras.metrics.Sum(name="seen", dtype="int64")  # examples of this evaluation so far

    def _counter(self, name):
        with keras.name_scope(self.name, caller=self):
            return Counter("zeros", (), "int64", trainable=False, aggregation="only_first_replica", name=name)

    # ---- defined by the subclass ----

    def _noise_size(self) -> int:
        raise NotImplementedError

    def _terms(self, batch: Batch, eps, training=False) -> Terms:
        """The terms for a batch that is `prepared` and noise eps `[S, B, noise size]`."""
        raise NotImplementedError

    def _reconstruct(self, batch: Batch, training=False):
        """What `predict` gives for a batch that is `prepared`: `[B, *event_shape]`."""
        raise NotImplementedError

    # ---- before training ----

    def adapt(self, data) -> None:
        """Start at the data: for features of zero, p(x|z) has the mean of x over `data` (`LogNormal`: that of log x).

        This sets the bias of the likelihood's projection. Otherwise training spends its first epochs on it (Burda et
        al. 2016). Where x has a unit, it sets the likelihood's center and spread, too, see
        `kvae.likelihoods.standardized.Standardized`. The pseudo-inputs of a `VampPrior` begin at examples, by the
        seed. Call it once, before `fit`.

        Args:
            data: an array `[N, *event_shape]`, a split, or a finite `tf.data.Dataset` of batches.

        Raises:
            ValueError: for a likelihood with project=False: the bias is in the decoder then.
        """
        if not self.likelihood.project and not self.likelihood.has_unit:
            raise ValueError(
                f"adapt sets the bias of the likelihood's projection, but {type(self.likelihood).__name__}("
                "project=False) has none. Set the bias of the decoder's last layer."
            )
        data = inputs.repeatable(data)
        self.likelihood.adapt(lambda function: statistics.mean(data, self.likelihood, function)[0])
        self.prior.adapt(lambda n: self.random_examples(data, n, self.seed))

    def random_examples(self, data, n: int, seed: int, without=()) -> tuple:
        """n examples by the seed as the encoder gets them, `[n, *event_shape]`, and their conditions or None.

        Those with the numbers `without` are left out.
        """
        batch = self.prepared(statistics.random_rows(data, self.likelihood, self.condition_shape, n, seed, without))
        return self.likelihood.seen(batch.x), batch.condition

    # ---- one step, for training and evaluation alike ----

    @property
    def metrics(self):
        """The trackers: loss, elbo, reconstruction, kl, and schedules such as beta; see `kvae.training.trackers`."""
        return self.trackers.metrics

    def predict_step(self, data):
        """One batch of `predict`, as Keras calls it."""
        batch = unpack(data)
        return self.marked(batch, self._reconstruct(self.prepared(batch)))

    def step(self, batch: Batch, training=False, checked=True):
        """One step on a batch; `checked`: what was observed of x is known to be in the support."""
        checks.check_shape(batch.x.shape, self.event_shape)
        batch = self.prepared(batch)
        rows = batch.x.shape[0] or tf.shape(batch.x)[0]
        weight = tf.ones([rows]) if batch.weight is None else tf.cast(batch.weight, tf.float32)
        checks.check_weight(weight)
        batch = batch._replace(weight=weight)
        if training:
            stream, first = self.draws.value, replicas.offset(rows)
        else:
            stream, first = noise.EVALUATION, replicas.total(tf.identity(self.seen.result())) + replicas.offset(rows)
            self.seen.update_state(rows)
        eps = self._noise(self.seed, stream, first, rows, self.objective.samples)
        if not training:
            self._step(batch, eps, False, checked)
            return
        self._seed_layers()
        with tf.GradientTape() as tape:
            loss = self.optimizer.scale_loss(self._step(batch, eps, True, checked))
        gradients = gradient_barrier(tape.gradient(loss, self.trainable_weights))
        gradients = replicas.clipped(self.optimizer, gradients)
        replicas.update(self.optimizer, gradients, self.trainable_weights)

    def prepared(self, batch: Batch) -> Batch:
        """The batch as tensors for the networks: classes one-hot, and a neutral value for x where it is missing.

        So a missing value, NaN for example, cannot get into a gradient. A model that is not conditional ignores a
        condition, which may be a label.
        """
        condition = None
        if self.condition_shape is not None:
            condition = conditions.prepared(batch.condition, self.condition_shape)
        if batch.mask is not None:
            checks.check_shape(batch.mask.shape, self.event_shape, "The mask")
        filled = batch.filled(self.likelihood.neutral, self.likelihood.compute_dtype)
        return filled._replace(condition=condition)

    def _seed_layers(self):
        """Seed random layers, such as Dropout, by the step: Keras does not save the state of their generators."""
        for number, generator in enumerate(self._generators()):
            step = self.draws.value * 65536 + replicas.number()
            state = tf.stack([tf.cast(self.seed * 1000003 + number, tf.int64), step])
            generator.state.assign(tf.cast(tf.bitwise.bitwise_and(state, 0x7FFFFFFF), generator.state.dtype))

    def _generators(self) -> list[keras.random.SeedGenerator]:
        layers = [layer for network in (self.encoder, self.decoder) for layer in network._flatten_layers()]
        found = [generator for layer in layers for generator in layer._seed_generators]
        return list(dict.fromkeys(found))  # a layer used twice counts once

    def _step(self, batch, eps, training, checked):
        """Terms, loss and trackers of a batch; the loss to differentiate is sum(w loss) / batch size."""
        terms = self._terms(batch, eps, training)
        iteration = tf.convert_to_tensor(self.optimizer.iterations)
        reconstruction = tf.reduce_mean(terms.log_px_z, axis=0)
        kl = self.objective.kl(terms) if self.trackers.with_kl else None
        penalty = tf.add_n([tf.cast(p, reconstruction.dtype) for p in self.losses]) if self.losses else 0.0
        loss = self.objective.loss(terms, iteration)  # [B]
        if terms.penalty is not None:
            loss += terms.penalty
        scheduled = self.objective.scheduled(iteration)
        details = (terms.details or {}) | self.objective.details(terms)
        self.trackers.update(loss + penalty, reconstruction, kl, scheduled, batch.weight, details)
        bad = [_not_finite(reconstruction), False if kl is None else _not_finite(kl)]
        if training:
            self.faults.update_state(self.draws.value, *bad, *self._outside(batch, checked))
        else:
            self.test_faults.update_state(1, *bad, *self._outside(batch, checked))
        examples = replicas.total(tf.cast(tf.shape(loss)[0], loss.dtype))
        return tf.reduce_sum(tf.cast(batch.weight, loss.dtype) * loss) / examples + penalty / replicas.count()

    def _outside(self, batch, checked) -> tuple:
        """Whether a batch that is `prepared` has an x outside the support, and a condition that there is none of."""
        if checked:
            return False, False
        condition = False if batch.condition is None else _not_finite(batch.condition)
        return tf.reduce_any(self._rows_outside(batch.x, batch.mask)), condition

    def _rows_outside(self, x, mask):
        """Which rows of x, `[B, *event_shape]`, have a value outside the support where they were observed: `[B]`."""
        outside = self.likelihood.support.outside(x)
        if mask is not None:
            outside = tf.logical_and(outside, tf.cast(mask, tf.bool))
        return tf.reduce_any(tf.reshape(outside, [tf.shape(x)[0], -1]), axis=1)

    def marked(self, batch: Batch, result, axis: int = 0):
        """A result of a batch as it came, with NaN in the rows that an error would name elsewhere; `axis` is theirs.

        These are the rows with an x outside the support or a condition that there is none of. This is the rule inside
        compiled graphs, where no error can be raised. The other rows stay as they are.
        """
        outside = self._rows_outside(batch.x, batch.mask)
        if self.condition_shape is not None:
            outside |= conditions.rows_outside(batch.condition, self.condition_shape)
        shape = [1] * result.shape.rank
        shape[axis] = -1
        return tf.where(tf.reshape(outside, shape), tf.constant(float("nan"), result.dtype), result)

    def _noise(self, seed, stream, first, rows, samples):
        """Standard normal noise `[S, B, noise size]`; that of an example depends on its number alone."""
        size = self._noise_size()
        eps = noise.normal(seed, stream, first, rows, samples * size, self.likelihood.compute_dtype)
        if samples == 1:
            return eps[None]
        return tf.transpose(tf.reshape(eps, [rows, samples, size]), [1, 0, 2])


def _not_finite(term):
    return tf.logical_not(tf.reduce_all(tf.math.is_finite(term)))

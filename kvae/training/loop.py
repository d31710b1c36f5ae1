"""Many steps of a model on an array in one compiled call.

Keras calls its `train_function` with an iterator of batches. A `Loop` stands in its place: it ignores the
iterator, gathers the rows of each batch by index and runs a number of steps inside one `tf.while_loop`. The
progress bar, the history and the callbacks stay Keras' own. The rows are in memory, or come in blocks from disk.
"""

import functools
import math

import numpy as np
import tensorflow as tf

from kvae.data import conditions
from kvae.data.batch import Batch
from kvae.data.preparation import Preparation
from kvae.data.splits import Split
from kvae.numerics import noise, replicas
from kvae.training.feeds import Feed, Held, Piece
from kvae.training.step_time import StepTime, steps_per_call
from kvae.training.streamed import LARGEST_HELD, Streamed

_SECONDS_PER_CALL = 0.3  # what a call aims at, once the time of a step is known


@functools.cache
def placeholder_dataset(replicas: int = 1) -> tf.data.Dataset:
    """An endless dataset of zeros, one for each replica. Keras iterates over it while a `Loop` does the work."""
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread would stall the end of the fit
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return tf.data.Dataset.from_tensors([0] * replicas).repeat().with_options(options)


class Loop:
    """A `train_function` or `test_function` that runs many steps on a split at a call.

    In training, the order of a pass is a function of (seed, passes), and `model.passes` and `model.position`
    say where training stands; after a restart in the middle of a pass the first epoch does what is left of it.
    A call never crosses a pass. In evaluation the rows come in their stored order.

    Keras fixes the number of steps per call before the first call. A loop that `runs_ahead` measures the time of a
    step. It then runs more steps than Keras asks for, for about a third of a second. For the calls that follow, these
    steps are already done.

    Args:
        model: the model whose `step` runs.
        split: the data.
        steps: steps per Keras epoch; None for one pass.
        training: whether to train.
        shuffle: False to train in the stored order.

    Attributes:
        per_call: steps that Keras counts for a call, 1 until it is set.
        runs_ahead: whether a call may run further.
    """

    def __init__(self, model, split: Split, steps: int | None, training: bool, shuffle: bool = True):
        self.model, self.split, self.training, self.shuffle = model, split, training, shuffle
        self.batches = math.ceil(len(split) / split.batch_size)
        self.steps, self.whole_passes = steps or self.batches, steps is None
        self.per_call, self.runs_ahead = 1, False
        self.asked = 0  # steps of this Keras epoch that Keras has asked for
        self.done = 0  # and steps of it that have been run
        self.step_time = model.programs.get(("step_time", training, split.batch_size), StepTime)
        self.feed = _feed(model, split, training, shuffle)
        self.logs: dict = {}

    @property
    def ticks(self) -> tf.data.Dataset:
        """What Keras iterates over while this does the work."""
        return placeholder_dataset(self.model.distribute_strategy.num_replicas_in_sync)

    def choose_steps_by_time(self) -> None:
        """Choose the steps per call by their time: measured in an earlier fit, or estimated and then corrected."""
        known = min(self.steps, self.step_time.steps(_SECONDS_PER_CALL))
        self.per_call, self.runs_ahead = known or steps_per_call(self.model, self.split.batch_size, self.steps), True

    def __call__(self, iterator) -> dict:
        """Run the next steps, unless they are already done, and return the logs. The iterator is not used."""
        del iterator
        if self.asked == 0:
            self.step_time.restart()
        self.asked = min(self.steps, self.asked + self.per_call)
        if self.asked > self.done:
            ahead = self.done + self.step_time.steps(_SECONDS_PER_CALL) if self.runs_ahead else 0
            target = min(self.steps, max(self.asked, ahead))
            self.step_time.start(target - self.done)
            if self.training:
                self._train(target - (int(self.model.position) if self.whole_passes else self.done))
            else:
                self._run(0, self.done, target - self.done)
            self.done = target
        if self.asked == self.steps:
            self.rewind()
        return self.logs

    def rewind(self) -> None:
        """Begin a Keras epoch."""
        self.asked = self.done = 0

    def begin(self) -> None:
        """Continue the pass at hand, or begin a new one where it was over other data or in other batches."""
        if int(self.model.pass_length) != self.batches:
            if int(self.model.position) > 0:
                self._next_pass()
            self.model.pass_length.assign(self.batches)

    def _train(self, steps: int) -> None:
        while steps > 0:
            self.end_pass()
            position = int(self.model.position)
            count = min(steps, self.batches - position)
            self._run(int(self.model.passes), position, count)
            self.model.position.value.assign(position + count)
            steps -= count

    def end_pass(self) -> None:
        """Begin the next pass, where the one at hand is complete."""
        if int(self.model.position) >= self.batches:
            self._next_pass()

    def _next_pass(self) -> None:
        self.model.passes.value.assign_add(1)
        self.model.position.value.assign(0)

    def _run(self, passes: int, first: int, count: int) -> None:
        for piece in self.feed.pieces(passes, first, count):
            self._call(piece)

    def _call(self, piece: Piece) -> None:
        numbers = [tf.constant(number, tf.int32) for number in piece[2:]]
        # The ragged batch comes once a pass: not worth a compilation.
        may_jit = self.training and piece.rows.shape[1] == self.split.batch_size
        try:
            self.logs = self._program(may_jit)(piece.arrays, piece.rows, *numbers)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            self.model.without_xla(error)  # raises it again, where it is another
            self.logs = self._program(may_jit)(piece.arrays, piece.rows, *numbers)

    def _program(self, may_jit: bool):
        """The compiled loop, made once for a model and a way of preparing its data."""
        jit = may_jit and self.model.jit_compile
        size = self.split.batch_size if jit else None  # XLA compiles for one shape, the rest for all
        types = tuple((name, spec.dtype, spec.shape.rank) for name, spec in self.feed.specs.items())
        key = (self.split.preparation, self.training, size, jit, types)
        return self.model.programs.get(key, lambda: self._compiled(jit, size))

    def _compiled(self, jit: bool, size: int | None):
        program = _program(self.model, self.split.preparation, self.training, jit)
        if self.model.run_eagerly:
            return program
        number = tf.TensorSpec([], tf.int32)
        rows = tf.TensorSpec([None, size], tf.int32)
        # Concrete, because a tf.function first inspects its arguments, which takes longer than its launch.
        compiled = tf.function(program, jit_compile=jit, autograph=False)
        return compiled.get_concrete_function(self.feed.specs, rows, number, number, number)


def _feed(model, split: Split, training: bool, shuffle: bool) -> Feed:
    """The rows of a split, in memory or from disk."""

    def order(passes):  # which holds no loop: a feed is freed with its last user
        shuffled = training and shuffle
        return split.order(model.seed, passes) if shuffled else np.arange(len(split), dtype=np.int32)

    condition = conditions.checked(split.y, model.condition_shape, len(split))
    whole = Batch(split.array, condition, split.mask, split.sample_weight)
    arrays = {name: array for name, array in whole._asdict().items() if array is not None}
    if split.on_disk and split.array.nbytes > LARGEST_HELD:
        return Streamed(arrays, split.batch_size, order, training, replicas.own_rows(model.distribute_strategy))
    support = model.likelihood.support
    small = split.as_stored and support.integer and np.all(support.low >= 0) and np.all(support.high <= 255)
    if small and split.mask is None:
        arrays["x"] = np.asarray(split.array).astype(np.uint8)
    return Held(arrays, split.batch_size, order)


def _program(model, preparation: Preparation, training: bool, jit: bool):
    def program(arrays, rows, first, count, offset):
        def step(i):
            begin, end = replicas.rows_of(tf.shape(rows)[1])
            own = rows[i] if replicas.count() == 1 else rows[i][begin:end]
            batch = Batch(**{name: tf.gather(array, own) for name, array in arrays.items()})
            if training:
                x = preparation(batch.x, begin, model.draws.value)
            else:
                x = preparation(batch.x, offset + rows[i][0] + begin, noise.BINARIZATION)
            model.step(batch._replace(x=x), training)

        def body(i):
            if training:
                model.draws.assign_add(1)
            model.on_replicas(step, i)
            return (i + 1,)

        with noise.under_xla(jit):
            tf.while_loop(lambda i: i < first + count, body, [first], parallel_iterations=1)
            return model.trackers.logs()

    return program

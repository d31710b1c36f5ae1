"""Many steps of a model on an array in one compiled call.

Keras calls its `train_function` with an iterator of batches. A `Loop` stands in its place: it ignores the
iterator, gathers the rows of each batch by index and runs a number of steps inside one `tf.while_loop`. The
progress bar, the history and the callbacks stay Keras' own.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kvae import noise
from kvae.splits import Preparation, Split

_SECONDS_PER_CALL = 0.2
_FLOPS_PER_SECOND = 3e10  # of one CPU core or two; only the granularity of the progress bar hangs on it
_SECONDS_PER_STEP = 1e-4
_CONVOLUTIONS = ("Conv", "RNN", "LSTM", "GRU")


class Programs:
    """Compiled functions by key, made once each; out of sight of Keras' and TensorFlow's tracking."""

    def __init__(self):
        self._made: dict = {}

    def get(self, key, make: Callable) -> Callable:
        """The function of this key, made by `make()` the first time."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def ticks() -> tf.data.Dataset:
    """An endless dataset of nothing: what Keras iterates over while a `Loop` does the work."""
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread would stall the end of the fit
    return tf.data.Dataset.from_tensors(0).repeat().with_options(options)


def prefers_xla(*networks) -> bool:
    """Whether XLA is likely to be faster: always on a GPU; on a CPU for networks without convolutions."""
    if tf.config.list_physical_devices("GPU"):
        return True
    layers = [layer for network in networks for layer in network._flatten_layers()]
    return not any(word in type(layer).__name__ for layer in layers for word in _CONVOLUTIONS)


def steps_per_call(model, batch_size: int, steps: int) -> int:
    """How many steps take about a fifth of a second, from a count of multiply-adds; at most `steps`."""
    adds = model.objective.samples * _multiply_adds(model.decoder, model.likelihood)
    adds += _multiply_adds(model.encoder, model.posterior)
    seconds = _SECONDS_PER_STEP + 6.0 * adds * batch_size / _FLOPS_PER_SECOND
    return max(1, min(steps, round(_SECONDS_PER_CALL / seconds)))


def _multiply_adds(network, family) -> int:
    total = 0
    for layer in network._flatten_layers(include_self=False):
        kernel = getattr(layer, "kernel", None)
        if kernel is not None and not isinstance(layer, keras.Model):
            total += math.prod(kernel.shape) * math.prod(_places(layer))
    if family.projection is not None:
        total += math.prod(family.projection.kernel.shape) * math.prod(network.output_shape[1:-1])
    return total


def _places(layer) -> list[int]:
    """The places at which a layer's kernel acts: its output's shape without batch and channels, where known."""
    shape = getattr(getattr(layer, "_inbound_nodes", None) and layer.output, "shape", ())
    return [size for size in shape[1:-1] if size is not None]


class EndPass(keras.callbacks.Callback):
    """Ends the pass with the epoch, before other callbacks save the model.

    Until then a complete pass has `position` at its number of batches, so that a model saved after the last
    batch of an epoch, but before its end, is restored into that epoch with nothing left to do.

    It also gives the model its own `steps_per_execution` back as soon as Keras has counted the calls of the
    training loop by another one: validation, and `predict` in a callback, run functions made for that.
    """

    def __init__(self, loop: "Loop", steps_per_execution: int):
        super().__init__()
        self.loop, self.steps_per_execution = loop, steps_per_execution

    def on_train_begin(self, logs=None):
        """Give `steps_per_execution` back."""
        self.model.steps_per_execution = self.steps_per_execution

    def on_epoch_end(self, epoch, logs=None):
        """End the pass."""
        self.loop.end_pass()


class Loop:
    """A `train_function` or `test_function` that runs `per_call` steps on a split at every call.

    In training, the order of a pass is a function of (seed, passes), and `model.passes` and `model.position`
    say where training stands; after a restart in the middle of a pass the first epoch does what is left of it.
    A call never crosses a pass. In evaluation the rows come in their stored order.

    Args:
        model: the model whose `step` runs.
        split: the data.
        steps: steps per Keras epoch; None for one pass.
        training: whether to train.
        shuffle: False to train in the stored order.

    Attributes:
        per_call: steps per call, 1 until it is set.
    """

    def __init__(self, model, split: Split, steps: int | None, training: bool, shuffle: bool = True):
        self.model, self.split, self.training, self.shuffle = model, split, training, shuffle
        self.batches = math.ceil(len(split) / split.batch_size)
        self.steps, self.whole_passes = steps or self.batches, steps is None
        self.per_call = 1
        self.cursor = 0  # steps of this Keras epoch that are behind us
        self.array = tf.constant(split.array)
        weight = split.sample_weight
        self.weight = tf.zeros([0]) if weight is None else tf.constant(weight)
        self.rows: tuple[int, tf.Tensor, tf.Tensor] | None = None  # pass, whole batches, ragged batch

    def __call__(self, iterator) -> dict:
        """Run the next steps and return the logs. The iterator is not used."""
        del iterator
        target = min(self.steps, self.cursor + self.per_call)
        if self.training:
            self._train(target - (int(self.model.position) if self.whole_passes else self.cursor))
        else:
            self._run(0, self.cursor, target - self.cursor)
        self.cursor = target % self.steps
        return self.model.get_metrics_result()

    def begin(self) -> None:
        """Continue the pass at hand, or begin a new one where it was over other data or in other batches."""
        if self.model.pass_length != self.batches:
            if self.model.position > 0:
                self._next_pass()
            self.model.pass_length.assign(self.batches)

    def _train(self, steps: int) -> None:
        while steps > 0:
            self.end_pass()
            position = int(self.model.position)
            count = min(steps, self.batches - position)
            self._run(int(self.model.passes), position, count)
            self.model.position.assign(position + count)
            steps -= count

    def end_pass(self) -> None:
        """Begin the next pass, where the one at hand is complete."""
        if self.model.position >= self.batches:
            self._next_pass()

    def _next_pass(self) -> None:
        self.model.passes.assign_add(1)
        self.model.position.assign(0)

    def _run(self, passes: int, first: int, count: int) -> None:
        size = self.split.batch_size
        whole = len(self.split) // size
        if self.rows is None or self.rows[0] != passes:
            order = np.arange(len(self.split), dtype=np.int32)
            if self.training and self.shuffle:
                order = self.split.order(self.model.seed, passes)
            rows = np.split(order, [whole * size])
            self.rows = passes, tf.constant(rows[0].reshape(whole, size)), tf.constant(rows[1][None])
        in_whole = min(count, whole - first)
        if in_whole > 0:
            self._program(self.training)(self.array, self.weight, self.rows[1], first, in_whole)
        if count > max(in_whole, 0):  # the ragged batch comes once a pass: not worth a compilation
            self._program(False)(self.array, self.weight, self.rows[2], 0, 1)

    def _program(self, may_jit: bool):
        """The compiled loop, made once for a model and a way of preparing its data."""
        jit = may_jit and self.model.jit_compile
        size = self.split.batch_size if jit else None  # XLA compiles for one shape, the rest for all
        key = (self.split.preparation, self.training, len(self.weight) > 0, size, jit, self.array.dtype)
        return self.model.programs.get(key, lambda: self._compiled(jit, size))

    def _compiled(self, jit: bool, size: int | None):
        program = _program(self.model, self.split.preparation, self.training, len(self.weight) > 0)
        if self.model.run_eagerly:
            return program
        number = tf.TensorSpec([], tf.int32)
        rows = tf.TensorSpec([None, size], tf.int32)
        array = tf.TensorSpec([None, *self.split.event_shape], self.array.dtype)
        signature = [array, tf.TensorSpec([None], tf.float32), rows, number, number]
        return tf.function(program, input_signature=signature, jit_compile=jit)


def _program(model, preparation: Preparation, training: bool, weighted: bool):
    def program(array, weight, rows, first, count):
        def body(i):
            batch = rows[i]
            if training:
                model.draws.assign_add(1)
                x = preparation(tf.gather(array, batch), 0, model.draws.value)
            else:
                x = preparation(tf.gather(array, batch), batch[0], noise.BINARIZATION)
            model.step(x, tf.gather(weight, batch) if weighted else None, training)
            return (i + 1,)

        tf.while_loop(lambda i: i < first + count, body, [first], parallel_iterations=1)

    return program

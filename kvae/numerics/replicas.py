"""The replicas of a step under a strategy of `tf.distribute`; without one there is a single replica, number 0.

A batch is divided among the replicas in its order. So the noise of an example, by its number in the whole batch, and
the sums over the batch are those of one device.
"""

from collections.abc import Callable

import keras
import tensorflow as tf


def number():
    """That of the replica that this runs on, int64."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else tf.cast(context.replica_id_in_sync_group, tf.int64)


def count() -> int:
    """How many there are."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def total(value):
    """The sum of a tensor, or of each in a list, over the replicas, such as the size of the global batch."""
    if count() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def gathered(value):
    """The rows of all replicas in their order."""
    return value if count() == 1 else tf.distribute.get_replica_context().all_gather(value, axis=0)


def once(value):
    """The value on the first replica, and 0 on the others."""
    return value if count() == 1 else tf.where(number() == 0, value, tf.zeros_like(value))


def any_of(flags):
    """Booleans, True where they are so on any replica."""
    return flags if count() == 1 else total(tf.cast(flags, tf.int32)) > 0


def rows_of(rows: int):
    """The first row of a global batch of so many rows that this replica takes, and the one behind its last."""
    if count() == 1:
        return 0, rows
    share = lambda end: tf.cast(end * tf.cast(rows, tf.int64) // count(), tf.int32)  # noqa: E731
    return share(number()), share(number() + 1)


def own_rows(strategy) -> Callable[[int], slice]:
    """From the size of a global batch to those of its rows that the replicas of this process take."""
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return lambda rows: slice(0, rows)
    own = [int(one) for one in strategy.experimental_local_results(strategy.run(number))]
    ends, all_of_them = (min(own), max(own) + 1), strategy.num_replicas_in_sync
    return lambda rows: slice(*(end * rows // all_of_them for end in ends))


def offset(rows):
    """How many rows of the global batch the replicas before this one have, where it has so many; int64."""
    if count() == 1:
        return 0
    each = total(tf.one_hot(number(), count(), tf.cast(rows, tf.int64), tf.constant(0, tf.int64)))
    return tf.reduce_sum(tf.where(tf.range(count(), dtype=tf.int64) < number(), each, tf.zeros_like(each)))


def clipped(optimizer, gradients: list) -> list:
    """Gradients that are clipped as their sum over the replicas asks for. A Keras optimizer clips before it sums."""
    norm, each, value = optimizer.global_clipnorm, optimizer.clipnorm, optimizer.clipvalue
    if count() == 1 or not (norm or each or value):
        return gradients
    there = total([gradient for gradient in gradients if gradient is not None])
    if norm:
        there, _ = tf.clip_by_global_norm(there, norm)
    elif each:
        there = [tf.clip_by_norm(gradient, each) for gradient in there]
    else:
        there = [tf.clip_by_value(gradient, -value, value) for gradient in there]
    parts = iter(there)
    return [None if gradient is None else next(parts) / count() for gradient in gradients]


def update(optimizer, gradients: list, weights: list) -> None:
    """A step of the optimizer.

    Alone, it runs where nothing is left to be summed: a Keras optimizer sums by a `tf.custom_gradient` even then, which
    TensorFlow keeps for ever, with the graph that it is in. An optimizer that scales the loss refuses to run there.
    """
    pairs = list(zip(gradients, weights, strict=True))
    if tf.distribute.has_strategy() or isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer.apply_gradients(pairs)
    else:
        tf.distribute.get_replica_context().merge_call(lambda strategy: optimizer.apply_gradients(pairs))


def value(variable) -> int:
    """A scalar variable's number: that of the first replica, which has the others'."""
    return int(tf.convert_to_tensor(variable).numpy())

"""The replicas of a step under a strategy of `tf.distribute`; without one there is a single replica, number 0."""

import tensorflow as tf


def number():
    """That of the replica that this runs on."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None else tf.cast(context.replica_id_in_sync_group, tf.int64)


def count() -> int:
    """How many there are."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def total(value):
    """The sum of a value over the replicas, such as the size of the global batch."""
    if count() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def of_first(value):
    """The value that the first replica has."""
    return value if count() == 1 else total(tf.where(number() == 0, value, tf.zeros_like(value)))

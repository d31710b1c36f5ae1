"""Functions whose gradient is written out."""

import functools
from collections.abc import Callable

import tensorflow as tf


def custom_gradient(function: Callable) -> Callable:
    """`tf.custom_gradient(function)` of tensors, in a graph by one small function for each dtype and shape.

    In a graph every call of a `tf.custom_gradient` enters a function into TensorFlow's registry of gradients. It stays
    there for ever and holds the graph around it: a model that was once trained would never leave the memory. Here the
    graph that is held is the small function's own. So `function` must not use other tensors than its arguments.
    """
    with_gradient = tf.custom_gradient(function)
    compiled = tf.function(with_gradient, autograph=False)

    @functools.wraps(function)
    def call(*tensors):
        if tf.executing_eagerly():
            return with_gradient(*tensors)
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        return compiled.get_concrete_function(*map(tf.TensorSpec.from_tensor, tensors))(*tensors)

    return call

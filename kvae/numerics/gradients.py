"""Functions whose gradient is written out."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

_written = contextvars.ContextVar("kvae_written_gradients", default=True)


@contextlib.contextmanager
def left_out() -> Iterator[None]:
    """Within, functions have the gradient that TensorFlow finds: for a SavedModel.

    `tf.saved_model.load` enters each gradient that a file holds into its registry, where it keeps the whole model.
    """
    token = _written.set(False)
    try:
        yield
    finally:
        _written.reset(token)


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
        if not _written.get():
            return function(*tensors)[0]
        if tf.executing_eagerly():
            return with_gradient(*tensors)
        tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
        return compiled.get_concrete_function(*map(tf.TensorSpec.from_tensor, tensors))(*tensors)

    return call

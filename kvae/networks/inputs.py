"""What the networks take: x or z, and a condition or a mask beside it."""

from collections.abc import Callable

import keras
import tensorflow as tf

from kvae.numerics.arguments import flag, is_number, shown, sizes, whole


def encoder_inputs(event_shape, condition, mask: bool, place: Callable, place_x: Callable | None = None):
    """x where `place` (or `place_x`) puts it, the mask beside; the condition or None; and the network's inputs."""
    x, given, place_x = keras.Input(event_shape, name="x"), _condition(condition), place_x or place
    if not flag("mask", mask):
        return place_x(x), given, x if given is None else [x, given]
    seen = keras.Input(event_shape, name="mask")
    h = keras.layers.Concatenate(name="with_mask")([place_x(x), place(seen)])
    return h, given, [x, seen] if given is None else [x, given, seen]


def decoder_inputs(latent_dim: int, condition):
    """z; the condition or None; and the network's inputs."""
    z, given = keras.Input((latent_dim,), name="z"), _condition(condition)
    return z, given, z if given is None else [z, given]


def _condition(condition):
    if condition is None:
        return None
    shape = sizes("condition", condition)
    if not shape:
        raise ValueError(
            "condition must be the number of classes or the shape of a vector, such as 10 or (3,), got ()."
        )
    return keras.Input(shape, name="condition")


def joined(condition, flat):
    """Flat features with the condition, where there is one, beside them."""
    if condition is None:
        return flat
    if len(condition.shape) > 2:
        condition = keras.layers.Flatten(name="flat_condition")(condition)
    return keras.layers.Concatenate(name="with_condition")([flat, condition])


def checked(event_shape, latent_dim) -> tuple[tuple[int, ...], int]:
    """The shape of an example and the number of latent dimensions, as integers."""
    if is_number(event_shape):
        like = int(event_shape) if float(event_shape).is_integer() else 4
        raise ValueError(f"event_shape is a tuple, such as ({like},), got the number {event_shape}.")
    event_shape = sizes("event_shape", event_shape)
    if not event_shape:
        raise ValueError("event_shape needs at least one dimension, got (). Give (1,) for single numbers.")
    return event_shape, whole("latent_dim", latent_dim, 1)


def check_activation(activation) -> None:
    """Raise a ValueError unless Keras knows the activation, or it is a layer or a function that keeps the shape."""
    features = tf.TensorSpec([None, 8], keras.config.dtype_policy().compute_dtype)
    try:
        function = keras.activations.get(activation)
        if not isinstance(function, keras.Layer):
            found = tf.function(function, autograph=False).get_concrete_function(features).structured_outputs
            found.shape.assert_is_compatible_with(features.shape)
            tf.debugging.assert_type(found, features.dtype)
    except Exception as error:
        raise ValueError(
            "activation must be a name that Keras knows, such as 'relu' or 'gelu', or a function that keeps the shape "
            f"and the dtype of a tensor, got {shown(activation)}."
        ) from error

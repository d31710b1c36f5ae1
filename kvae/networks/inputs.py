"""What the networks take: x or z, and a condition or a mask beside it."""

from collections.abc import Callable

import keras

from kvae.numerics.arguments import check_at_least


def encoder_inputs(event_shape, condition, mask: bool, place: Callable):
    """x where `place` puts it, with the mask beside; the condition or None; and the network's inputs."""
    x, given = keras.Input(event_shape, name="x"), _condition(condition)
    if not mask:
        return place(x), given, x if given is None else [x, given]
    seen = keras.Input(event_shape, name="mask")
    h = keras.layers.Concatenate(name="with_mask")([place(x), place(seen)])
    return h, given, [x, seen] if given is None else [x, given, seen]


def decoder_inputs(latent_dim: int, condition):
    """z; the condition or None; and the network's inputs."""
    z, given = keras.Input((latent_dim,), name="z"), _condition(condition)
    return z, given, z if given is None else [z, given]


def _condition(condition):
    if condition is None:
        return None
    shape = (condition,) if isinstance(condition, int) else tuple(condition)
    for size in shape:
        check_at_least(1, condition=size)
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
    if isinstance(event_shape, int):
        raise ValueError(f"event_shape is a tuple, such as ({event_shape},), got the number {event_shape}.")
    event_shape = tuple(event_shape)
    if not event_shape:
        raise ValueError("event_shape needs at least one dimension, got ().")
    for size in event_shape:
        check_at_least(1, event_shape=size)
    check_at_least(1, latent_dim=latent_dim)
    return event_shape, latent_dim

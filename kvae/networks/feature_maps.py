"""The feature maps of an event, level by level, and the layers for their number of axes."""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from kvae.numerics.arguments import side, sizes, whole


class FeatureMaps(NamedTuple):
    """Feature maps of an event and the layers for their number of dimensions.

    Attributes:
        shape: of the event, with a channel axis.
        filters, kernel_size, dense: the builder's arguments as Python's numbers.
        place: from the event to that shape.
        sizes: the height and width of the maps, level by level.
        conv, up, crop, dropout: classes of layers.
    """

    shape: tuple[int, ...]
    filters: tuple[int, ...]
    kernel_size: int
    dense: int
    place: Callable
    sizes: list[tuple[int, ...]]
    conv: Any
    up: Any
    crop: Any
    dropout: Any


def feature_maps(what, event_shape, filters, kernel_size, dense) -> FeatureMaps:
    """The maps of `what`, a builder with these arguments, checked."""
    if len(event_shape) > 3:
        raise ValueError(
            f"{what} takes an event shape (H, W, C), (T, C) or (T,), got {event_shape}. "
            "For others use mlp, or your own Keras models."
        )
    filters = sizes("filters", filters)
    if not filters:
        raise ValueError(f"{what} needs at least one level, got filters=(). For linear networks use mlp(hidden=()).")
    kernel_size, dense = side("kernel_size", kernel_size), whole("dense", dense, 1)
    if len(event_shape) == 2 and min(event_shape) >= 8 and max(event_shape) <= 2 * min(event_shape):
        steps, channels = event_shape
        warnings.warn(
            f"{what} convolves {event_shape} in one dimension: {steps} steps of {channels} channels. Grey images of "
            f"this size have event_shape=({steps}, {channels}, 1), and x[..., None].",
            stacklevel=3,
        )
    shape = event_shape if len(event_shape) > 1 else (*event_shape, 1)
    levels = [shape[:-1]]
    for _ in filters:
        levels.append(tuple(math.ceil(n / 2) for n in levels[-1]))
    dimensions = f"{len(shape) - 1}D"
    names = f"Conv{dimensions}", f"Conv{dimensions}Transpose", f"Cropping{dimensions}", f"SpatialDropout{dimensions}"
    place = keras.layers.Reshape(shape, name="channel") if shape != event_shape else lambda x: x
    layers = (getattr(keras.layers, name) for name in names)
    return FeatureMaps(shape, filters, kernel_size, dense, place, levels, *layers)


def cropped(maps: FeatureMaps, g, sizes: tuple[int, ...], name: str):
    """The map g without what is beyond `sizes` at the end of each axis."""
    extra = tuple((0, have - want) for have, want in zip(g.shape[1:-1], sizes, strict=True))
    if not any(end for _, end in extra):
        return g
    return maps.crop(extra if len(extra) > 1 else extra[0], name=name)(g)

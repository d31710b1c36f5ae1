"""Encoder and decoder pairs for any event shape.

Both networks end in features, not in parameters: the posterior and the likelihood project them. So one pair
serves every family. They are ordinary Keras models; a pair of your own does as well.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from kvae.counts import check_at_least


def mlp(
    event_shape: Sequence[int],
    latent_dim: int,
    hidden: Sequence[int] = (400,),
    activation: str = "relu",
    condition: int | Sequence[int] | None = None,
    mask: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Dense networks: the encoder's hidden layers in the order given, the decoder's in reverse.

    Args:
        event_shape: the shape of one example, any rank from 1.
        latent_dim: the number of latent dimensions D, at least 1.
        hidden: the sizes of the hidden layers; () gives linear networks.
        activation: of the hidden layers.
        condition: the number of classes, or the shape of the vectors, of a conditional model; both networks then
            take it as a second input, beside x and beside z.
        mask: True for an encoder that is told which values are missing, by an input "mask" of the event's shape.

    Returns:
        encoder, `[B, *event_shape]` to features `[B, hidden[-1]]`, and decoder, `[B, D]` to `[B, hidden[0]]`.
    """
    event_shape, latent_dim = _checked(event_shape, latent_dim)
    for size in hidden:
        check_at_least(1, hidden=size)
    h, given, x_inputs = _encoder_inputs(event_shape, condition, mask, keras.layers.Flatten(name="flatten"))
    h = _with(given, h)
    for i, size in enumerate(hidden):
        h = keras.layers.Dense(size, activation=activation, name=f"hidden_{i + 1}")(h)
    z, given, z_inputs = _decoder_inputs(latent_dim, condition)
    g = _with(given, keras.layers.Identity(name="identity")(z))
    for i, size in enumerate(reversed(hidden)):
        g = keras.layers.Dense(size, activation=activation, name=f"hidden_{i + 1}")(g)
    return keras.Model(x_inputs, h, name="encoder"), keras.Model(z_inputs, g, name="decoder")


def conv(
    event_shape: Sequence[int],
    latent_dim: int,
    filters: Sequence[int] = (32, 64),
    kernel_size: int = 3,
    dense: int = 128,
    activation: str = "relu",
    condition: int | Sequence[int] | None = None,
    mask: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Strided convolutions: each level halves the height and width (rounded up), the decoder undoes it.

    The decoder crops at every level, so that any size works, odd ones too, and puts out a feature map of the
    event's height and width.

    Args:
        event_shape: (H, W, C); or (T, C) or (T,), which are convolved in one dimension.
        latent_dim: the number of latent dimensions D, at least 1.
        filters: of the encoder's levels; the decoder's are the same in reverse.
        kernel_size: of every convolution.
        dense: the size of the dense layer between the last feature map and the features.
        activation: of every layer.
        condition, mask: as in `mlp`; the condition joins the encoder before its dense layer.

    Returns:
        encoder, `[B, *event_shape]` to features `[B, dense]`, and decoder, `[B, D]` to
        `[B, H, W, filters[0]]` (or `[B, T, filters[0]]`).
    """
    event_shape, latent_dim = _checked(event_shape, latent_dim)
    maps = _maps("conv", event_shape, filters, kernel_size, dense)
    options = {"strides": 2, "padding": "same", "activation": activation}

    h, given, x_inputs = _encoder_inputs(event_shape, condition, mask, maps.place)
    for i, size in enumerate(filters):
        h = maps.conv(size, kernel_size, name=f"conv_{i + 1}", **options)(h)
    h = _with(given, keras.layers.Flatten(name="flatten")(h))
    h = keras.layers.Dense(dense, activation=activation, name="dense")(h)

    z, given, z_inputs = _decoder_inputs(latent_dim, condition)
    g = keras.layers.Dense(dense, activation=activation, name="dense")(_with(given, z))
    g = keras.layers.Dense(math.prod(maps.sizes[-1]) * filters[-1], activation=activation, name="grow")(g)
    g = keras.layers.Reshape((*maps.sizes[-1], filters[-1]), name="map")(g)
    for i, size in enumerate(reversed(filters)):
        g = maps.up(size, kernel_size, name=f"conv_{i + 1}", **options)(g)
        g = _cropped(maps, g, maps.sizes[-2 - i], f"crop_{i + 1}")
    return keras.Model(x_inputs, h, name="encoder"), keras.Model(z_inputs, g, name="decoder")


def resnet(
    event_shape: Sequence[int],
    latent_dim: int,
    filters: Sequence[int] = (32, 64),
    blocks: int = 1,
    kernel_size: int = 3,
    bottleneck: int = 2,
    dense: int = 128,
    activation: str = "relu",
    normalization: str | None = None,
    dropout: float = 0.0,
    skips: bool = False,
    condition: int | Sequence[int] | None = None,
    mask: bool = False,
) -> tuple[keras.Model, keras.Model]:
    """Residual networks: each level is a strided block that halves the height and width, and `blocks` that keep them.

    A block is h + f(h), f being three convolutions, each after normalisation and activation: to 1/`bottleneck` of
    the filters (1 x 1), through the kernel (strided, or strided and transposed), and back (1 x 1). Where the stride
    or the number of filters changes, h is projected by a 1 x 1 convolution of the same stride. The decoder mirrors
    the encoder and crops at every level, so that any size works.

    Args:
        event_shape: (H, W, C); or (T, C) or (T,), which are convolved in one dimension.
        latent_dim: the number of latent dimensions D, at least 1.
        filters: of the encoder's levels; the decoder's are the same in reverse.
        blocks: how many blocks of each level keep the size, at least 0.
        kernel_size: of the middle convolutions.
        bottleneck: by how much the middle convolution is narrower, at least 1.
        dense: the size of the dense layer between the last feature map and the features.
        activation: of every layer.
        normalization: None, "batch", "layer" or "group" (of up to 8 groups), before each activation of a block;
            the convolutions have no bias then, which it would cancel.
        dropout: the part of the feature maps that is dropped as a whole before a block's last convolution.
        skips: True to add a linear map of z to the features at every level of the decoder, so that no level
            can lose it (Dieng et al. 2019).
        condition, mask: as in `conv`.

    Returns:
        encoder, `[B, *event_shape]` to features `[B, dense]`, and decoder, `[B, D]` to
        `[B, H, W, filters[0]]` (or `[B, T, filters[0]]`).

    References: He, Zhang, Ren, Sun (2016), Identity mappings in deep residual networks, arXiv 1603.05027. Dieng,
    Kim, Rush, Blei (2019), Avoiding latent variable collapse with generative skip models, arXiv 1807.04863.
    """
    event_shape, latent_dim = _checked(event_shape, latent_dim)
    maps = _maps("resnet", event_shape, filters, kernel_size, dense)
    check_at_least(1, bottleneck=bottleneck)
    check_at_least(0, blocks=blocks)
    if normalization not in (None, "batch", "layer", "group"):
        raise ValueError(f"normalization must be None, 'batch', 'layer' or 'group', got {normalization!r}.")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout is a part, 0 <= dropout < 1, got {dropout!r}.")

    bias = {"use_bias": normalization is None}

    def ready(h):
        if normalization == "group":
            h = keras.layers.GroupNormalization(math.gcd(8, h.shape[-1]))(h)
        elif normalization is not None:
            kind = keras.layers.BatchNormalization if normalization == "batch" else keras.layers.LayerNormalization
            h = kind()(h)
        return keras.layers.Activation(activation)(h)

    def block(h, size, strides=1, conv=maps.conv):
        narrow = -(-size // bottleneck)
        f = maps.conv(narrow, 1, **bias)(ready(h))
        f = conv(narrow, kernel_size, strides=strides, padding="same", **bias)(ready(f))
        f = ready(f)
        if dropout:
            f = maps.dropout(dropout)(f)
        f = maps.conv(size, 1, **bias)(f)
        if strides > 1 or h.shape[-1] != size:
            h = conv(size, 1, strides=strides, padding="same", **bias)(h)
        return keras.layers.Add()([h, f])

    h, given, x_inputs = _encoder_inputs(event_shape, condition, mask, maps.place)
    h = maps.conv(filters[0], kernel_size, padding="same", name="stem", **bias)(h)
    for size in filters:
        h = block(h, size, strides=2)
        for _ in range(blocks):
            h = block(h, size)
    h = _with(given, keras.layers.Flatten(name="flatten")(ready(h)))
    h = keras.layers.Dense(dense, activation=activation, name="dense")(h)

    z, given, z_inputs = _decoder_inputs(latent_dim, condition)
    code = _with(given, z)

    def reached(g, level):
        if not skips:
            return g
        size = g.shape[-1]
        skip = keras.layers.Dense(size, use_bias=False, name=f"skip_{level}")(code)
        return keras.layers.Add()([g, keras.layers.Reshape((1,) * (len(g.shape) - 2) + (size,))(skip)])

    g = keras.layers.Dense(dense, activation=activation, name="dense")(code)
    g = keras.layers.Dense(math.prod(maps.sizes[-1]) * filters[-1], name="grow")(g)
    g = reached(keras.layers.Reshape((*maps.sizes[-1], filters[-1]), name="map")(g), 0)
    for i, size in enumerate(reversed(filters)):
        for _ in range(blocks):
            g = block(g, size)
        g = block(g, filters[max(0, len(filters) - 2 - i)], strides=2, conv=maps.up)
        g = reached(_cropped(maps, g, maps.sizes[-2 - i], f"crop_{i + 1}"), i + 1)
    return keras.Model(x_inputs, h, name="encoder"), keras.Model(z_inputs, ready(g), name="decoder")


def _encoder_inputs(event_shape, condition, mask: bool, place: Callable):
    """x where `place` puts it, with the mask beside; the condition or None; and the network's inputs."""
    x, given = keras.Input(event_shape, name="x"), _condition(condition)
    if not mask:
        return place(x), given, x if given is None else [x, given]
    seen = keras.Input(event_shape, name="mask")
    h = keras.layers.Concatenate(name="with_mask")([place(x), place(seen)])
    return h, given, [x, seen] if given is None else [x, given, seen]


def _decoder_inputs(latent_dim: int, condition):
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


def _with(condition, flat):
    """Flat features with the condition, where there is one, beside them."""
    if condition is None:
        return flat
    if len(condition.shape) > 2:
        condition = keras.layers.Flatten(name="flat_condition")(condition)
    return keras.layers.Concatenate(name="with_condition")([flat, condition])


class _Maps(NamedTuple):
    """Feature maps of an event and the layers for their number of dimensions.

    Attributes:
        shape: of the event, with a channel axis.
        place: from the event to that shape.
        sizes: the height and width of the maps, level by level.
        conv, up, crop, dropout: classes of layers.
    """

    shape: tuple[int, ...]
    place: Callable
    sizes: list[tuple[int, ...]]
    conv: Any
    up: Any
    crop: Any
    dropout: Any


def _maps(what, event_shape, filters, kernel_size, dense) -> _Maps:
    if len(event_shape) > 3:
        raise ValueError(f"{what} takes an event shape (H, W, C), (T, C) or (T,), got {event_shape}.")
    if not filters:
        raise ValueError(f"{what} needs at least one level, got filters=(). For linear networks use mlp(hidden=()).")
    check_at_least(1, kernel_size=kernel_size, dense=dense)
    for size in filters:
        check_at_least(1, filters=size)
    shape = event_shape if len(event_shape) > 1 else (*event_shape, 1)
    sizes = [shape[:-1]]
    for _ in filters:
        sizes.append(tuple(math.ceil(n / 2) for n in sizes[-1]))
    dimensions = f"{len(shape) - 1}D"
    names = f"Conv{dimensions}", f"Conv{dimensions}Transpose", f"Cropping{dimensions}", f"SpatialDropout{dimensions}"
    place = keras.layers.Reshape(shape, name="channel") if shape != event_shape else lambda x: x
    return _Maps(shape, place, sizes, *(getattr(keras.layers, name) for name in names))


def _cropped(maps: _Maps, g, sizes: tuple[int, ...], name: str):
    """The map g without what is beyond `sizes` at the end of each axis."""
    extra = tuple((0, have - want) for have, want in zip(g.shape[1:-1], sizes, strict=True))
    if not any(end for _, end in extra):
        return g
    return maps.crop(extra if len(extra) > 1 else extra[0], name=name)(g)


def _checked(event_shape, latent_dim) -> tuple[tuple[int, ...], int]:
    if isinstance(event_shape, int):
        raise ValueError(f"event_shape is a tuple, such as ({event_shape},), got the number {event_shape}.")
    event_shape = tuple(event_shape)
    if not event_shape:
        raise ValueError("event_shape needs at least one dimension, got ().")
    for size in event_shape:
        check_at_least(1, event_shape=size)
    check_at_least(1, latent_dim=latent_dim)
    return event_shape, latent_dim

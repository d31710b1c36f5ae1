"""Dense networks."""

from collections.abc import Sequence

import keras

from kvae.networks.inputs import check_activation, checked, decoder_inputs, encoder_inputs, joined
from kvae.networks.one_hot import OneHot
from kvae.numerics.arguments import sizes


def mlp(
    event_shape: Sequence[int],
    latent_dim: int,
    hidden: int | Sequence[int] = (400,),
    activation: str = "relu",
    condition: int | Sequence[int] | None = None,
    mask: bool = False,
    classes: Sequence[int] | None = None,
) -> tuple[keras.Model, keras.Model]:
    """Dense networks: the encoder's hidden layers in the order given, the decoder's in reverse.

    Args:
        event_shape: the shape of one example, any rank from 1.
        latent_dim: the number of latent dimensions D, at least 1.
        hidden: the sizes of the hidden layers, or of the only one; () gives linear networks.
        activation: of the hidden layers.
        condition: the number of classes, or the shape of the vectors, of a conditional model; both networks then
            take it as a second input, beside x and beside z.
        mask: True for an encoder that is told which values are missing, by an input "mask" of the event's shape.
        classes: for tables, of each column the number of classes that the encoder is to see one-hot, 0 for numbers;
            see `OneHot` and `kvae.data.Table.classes`.

    Returns:
        encoder, `[B, *event_shape]` to features `[B, hidden[-1]]`, and decoder, `[B, D]` to `[B, hidden[0]]`.
    """
    event_shape, latent_dim = checked(event_shape, latent_dim)
    hidden = sizes("hidden", hidden)
    check_activation(activation)
    place_x = None if classes is None or not any(sizes("classes", classes, 0)) else OneHot(classes, name="one_hot")
    flatten = keras.layers.Flatten(name="flatten")
    h, given, x_inputs = encoder_inputs(event_shape, condition, mask, flatten, place_x)
    h = joined(given, h)
    for i, size in enumerate(hidden):
        h = keras.layers.Dense(size, activation=activation, name=f"hidden_{i + 1}")(h)
    z, given, z_inputs = decoder_inputs(latent_dim, condition)
    g = joined(given, keras.layers.Identity(name="identity")(z))
    for i, size in enumerate(reversed(hidden)):
        g = keras.layers.Dense(size, activation=activation, name=f"hidden_{i + 1}")(g)
    return keras.Model(x_inputs, h, name="encoder"), keras.Model(z_inputs, g, name="decoder")

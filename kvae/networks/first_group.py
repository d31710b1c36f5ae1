"""What a decoder begins with that sees one group of z."""

import keras

from kvae.numerics.arguments import whole


@keras.saving.register_keras_serializable("kvae")
class FirstGroup(keras.layers.Layer):
    """The first numbers of z, `[..., D]` to `[..., size]`: for p(x|z_1) in a hierarchy z = (z_1, ..., z_L).

    Args:
        size: of z_1.

    ```
    encoder, decoder = kvae.networks.mlp(event_shape, latent_dim=50)
    decoder = keras.Sequential([keras.Input((50 + 10,)), kvae.networks.FirstGroup(50), decoder])
    ```
    """

    def __init__(self, size: int, **options):
        super().__init__(**options)
        self.size = whole("size", size, 1)

    def get_config(self):
        """The constructor's arguments."""
        return super().get_config() | {"size": self.size}

    def build(self, shape):
        """Check that z has so many numbers."""
        if shape[-1] < self.size:
            raise ValueError(f"FirstGroup({self.size}) takes z of {self.size} numbers or more, got {shape[-1]}.")

    def call(self, z):
        """z_1."""
        return z[..., : self.size]

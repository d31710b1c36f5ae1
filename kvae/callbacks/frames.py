"""A callback that keeps pictures of the training."""

import keras
import numpy as np

from kvae.numerics import arguments


class Frames(keras.callbacks.Callback):
    """Keeps what the model generates from the same z after every epoch, for `kvae.plots.animation`.

    Args:
        z: `[N, latent_dim]`; by default 25 draws from N(0, I).
        condition: of a conditional model: N labels or vectors.
        every: epochs between two frames.

    Attributes:
        frames: means of p(x|z), `[N, *event_shape]` each, the first from before the training.
    """

    def __init__(self, z=None, condition=None, every: int = 1):
        super().__init__()
        self.z, self.condition, self.every = z, condition, arguments.whole("every", every, 1)
        self.frames: list[np.ndarray] = []

    def on_train_begin(self, logs=None):
        """Keep the model as it is before the first epoch."""
        if self.z is None:
            self.z = np.random.default_rng(0).normal(size=(25, self.model.latent_dim))
        if not self.frames:
            self._keep()

    def on_epoch_end(self, epoch, logs=None):
        """Keep a frame, every so many epochs."""
        if (epoch + 1) % self.every == 0:
            self._keep()

    def _keep(self):
        self.frames.append(self.model.decode(self.z, self.condition).mean().numpy())

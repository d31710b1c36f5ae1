"""Callbacks for `fit`."""

from pathlib import Path

import keras

from kvae.saving import save_model


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole model at the end of every epoch, under a temporary name that is then renamed.

    A process that is killed while it writes leaves the file of the epoch before. (Keras' own `ModelCheckpoint`
    writes in place.) The file holds the optimizer and kvae's counters: `kvae.load_model(path).fit(...,
    initial_epoch=int(vae.passes))` goes on as if nothing had happened.

    Args:
        filepath: ends in .keras.
    """

    def __init__(self, filepath):
        super().__init__()
        self.filepath = Path(filepath)
        if self.filepath.suffix != ".keras":
            raise ValueError(f"Checkpoint needs a path that ends in .keras, got {str(filepath)!r}.")

    def on_epoch_end(self, epoch, logs=None):
        """Save."""
        save_model(self.model, self.filepath)

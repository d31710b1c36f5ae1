"""Callbacks for `fit`."""

import math
import time
from pathlib import Path

import keras

from kvae.saving import save_model


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole model at the end of epochs and of the fit, under a temporary name that is then renamed.

    A process that is killed while it writes leaves the file of the save before. (Keras' own `ModelCheckpoint`
    writes in place.) The file holds the optimizer and kvae's counters: `kvae.load_model(path).fit(...,
    initial_epoch=int(vae.passes))` goes on as if nothing had happened.

    Args:
        filepath: ends in .keras.
        seconds: an epoch's end within so many seconds of the last save is passed over; 0 saves every epoch.
    """

    def __init__(self, filepath, seconds: float = 0.0):
        super().__init__()
        self.filepath, self.seconds = Path(filepath), float(seconds)
        if self.filepath.suffix != ".keras":
            raise ValueError(f"Checkpoint needs a path that ends in .keras, got {str(filepath)!r}.")
        self._saved_at = -math.inf
        self._unsaved = False

    def on_epoch_end(self, epoch, logs=None):
        """Save, unless the last save was just now."""
        self._unsaved = True
        if time.monotonic() - self._saved_at >= self.seconds:
            self._save()

    def on_train_end(self, logs=None):
        """Save what is not saved yet."""
        if self._unsaved:
            self._save()

    def _save(self):
        save_model(self.model, self.filepath)
        self._saved_at, self._unsaved = time.monotonic(), False

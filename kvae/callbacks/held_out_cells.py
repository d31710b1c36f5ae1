"""A callback that stops by values that were hidden from training."""

import math

import keras
import numpy as np

from kvae.data import inputs
from kvae.data.splits import observed
from kvae.evaluate.imputation import imputation
from kvae.numerics import arguments


class HeldOutCells(keras.callbacks.Callback):
    """Ends training on a table where values that were observed, but hidden, are filled in worse and worse.

    It logs `imputation_error`, the mean over columns of the errors of `kvae.evaluate.imputation`, and puts back the
    weights that were best. Small tables overfit early, and complete rows for validation are rare where values are
    missing.

    ```
    train = data.hide(0.1)  # a tenth of the observed values
    vae.fit(train, epochs=1000, callbacks=[kvae.callbacks.HeldOutCells(data, train.mask)])
    ```

    Args:
        data: rows with all their observed values; a few thousand are enough.
        mask: 1 where training sees the value, `[N, D]`.
        every: epochs between two checks.
        patience: how many checks in a row without a lower error end the training.
        samples, seed: as for `vae.impute`.

    Attributes:
        best: the lowest error.
        best_epoch: its epoch, from 1 on; 0 before the first check.
    """

    def __init__(self, data, mask, every: int = 10, patience: int = 5, samples: int = 100, seed: int = 0):
        super().__init__()
        self.data, self.mask = data, mask
        self.every, self.patience = arguments.whole("every", every, 1), arguments.whole("patience", patience, 1)
        self.samples, self.seed = arguments.whole("samples", samples, 1), arguments.seed(seed)
        self.best, self.best_epoch = math.inf, 0
        self._weights: list | None = None
        self._waited = 0

    def on_train_begin(self, logs=None):
        """Forget an earlier training, and raise errors of the mask before this one."""
        batch = inputs.examples(self.data, self.model.likelihood, self.model.condition_shape)
        observed(self.mask, np.shape(batch.x))
        self.best, self.best_epoch, self._weights, self._waited = math.inf, 0, None, 0

    def on_epoch_end(self, epoch, logs=None):
        """Check, every so many epochs."""
        if (epoch + 1) % self.every:
            return
        found = imputation(self.model, self.data, self.mask, (), self.samples, self.seed).error["vae"]
        if logs is not None:
            logs["imputation_error"] = found
        if found < self.best:
            self.best, self.best_epoch, self._waited = found, epoch + 1, 0
            self._weights = self.model.get_weights()
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        """Put the best weights back."""
        if self._weights is not None:
            self.model.set_weights(self._weights)

"""A callback that says what is wrong."""

from collections.abc import Callable
from typing import Any

import keras

from kvae.data import inputs
from kvae.evaluate.diagnosis import Diagnosis, diagnose
from kvae.models.resolve import check_density
from kvae.numerics import arguments


class Diagnose(keras.callbacks.Callback):
    """Reports during training what `kvae.evaluate.diagnose` finds, and gives a summary at the end.

    A fault is reported once, when two checks in a row have found it. Under-training is checked only at the end.

    Args:
        data: new examples, such as the validation part; a few hundred are enough.
        train: the training data, to tell overfitting.
        every: epochs between two checks.
        say: a function that is called with each text.

    Attributes:
        found: the last `kvae.evaluate.Diagnosis`.
    """

    def __init__(self, data, train=None, every: int = 5, say: Callable[[str], Any] = print):
        super().__init__()
        if not callable(say):
            raise ValueError(f"say must be a function of a text, such as print, got {arguments.shown(say)}.")
        self.data, self.train, self.every, self.say = data, train, arguments.whole("every", every, 1), say
        self.found: Diagnosis | None = None
        self._said: set[str] = set()

    def on_train_begin(self, logs=None):
        """Raise errors of the model or the data before training, and forget an earlier diagnosis."""
        check_density(self.model, "a diagnosis")
        for data in (self.data, self.train):
            if data is not None:
                next(inputs.batches(data, self.model.likelihood, self.model.condition_shape))
        self.found, self._said = None, set()

    def on_epoch_end(self, epoch, logs=None):
        """Check, every so many epochs."""
        if (epoch + 1) % self.every:
            return
        before = self.found.faults if self.found is not None else ()
        self.found = diagnose(self.model, self.data, self.train, probe_steps=0)
        again = set(self.found.faults) & set(before) - {"under-trained"}
        if again - self._said:
            self._said |= again
            self.say(f"Epoch {epoch + 1}: {self.found}")

    def on_train_end(self, logs=None):
        """Say how the model is."""
        self.found = diagnose(self.model, self.data, self.train)
        self.say(str(self.found))

"""The callbacks that `fit` adds, and which of the user's want to see every batch."""

from typing import Any

import keras
import tensorflow as tf

_CAUSES = {
    "reconstruction": (
        "the decoder's output overflowed; most often the learning rate is too high, or x is far outside the "
        "range the network was made for"
    ),
    "kl": (
        "the encoder's output overflowed; most often the learning rate is too high, or x is far outside the "
        "range the network was made for"
    ),
}
_PER_BATCH = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


class StopOnFault(keras.callbacks.Callback):
    """Raises an error that names the term, the step and the likely cause, where a loss stops being finite.

    Args:
        non_finite: False to leave that to another callback, and stop only for x outside the support.
    """

    def __init__(self, non_finite: bool = True):
        super().__init__()
        self.non_finite, self.batches = non_finite, 0

    def on_epoch_end(self, epoch, logs=None):
        """Raise an error where there was nothing to train on."""
        if not self.batches:
            raise ValueError("The data are empty: they gave no batch to train on. Give at least one.")

    def on_train_batch_end(self, batch, logs=None):
        """Read what the steps noted."""
        self.batches += 1
        found = self.model.faults.found()
        if not found:
            return
        for fault in ("support", "condition"):
            if fault in found:
                raise ValueError(outside_message(f"Training stopped at step {found[fault]}", self.model, fault))
        if not self.non_finite:
            return
        term = min(found, key=lambda kind: found[kind])
        rate = float(tf.convert_to_tensor(self.model.optimizer.learning_rate))
        raise FloatingPointError(
            f"Training stopped at step {found[term]}: the {term} term is not finite. Likely cause: "
            f"{_CAUSES[term]}. The learning rate is {rate:g}; try a tenth of it, or clipnorm=1 in the optimizer."
        )


def outside_message(what: str, model, fault: str) -> str:
    """What to say of batches outside the support, or with conditions that the model does not have."""
    if fault == "condition":
        classes = f"labels 0..{model.condition_shape[0] - 1}, or " if len(model.condition_shape) == 1 else ""
        return (
            f"{what}: a batch held a condition that this model does not take (or NaN). It takes {classes}finite "
            f"numbers of shape {(None, *model.condition_shape)}."
        )
    likelihood = model.likelihood
    return (
        f"{what}: {type(likelihood).__name__} explains x in {likelihood.support.name}, but a batch held other values "
        "(or NaN). Scale or clean the data, or choose the likelihood that fits it."
    )


def stops_quietly(callbacks: list) -> bool:
    """Whether a callback of the user's ends the training where the loss is not finite."""
    return any(isinstance(callback, keras.callbacks.TerminateOnNaN) for callback in callbacks)


class EndPass(keras.callbacks.Callback):
    """Ends the pass with the epoch, before other callbacks save the model.

    Until then a complete pass has `position` at its number of batches. A model that is saved after the last batch, but
    before the end of the epoch, is restored into that epoch with nothing left to do.

    Keras counts the calls of the training loop by another `steps_per_execution`. Right after that, this callback sets
    the model's own value again: validation, and `predict` in a callback, run functions that were made for it.
    """

    def __init__(self, loop: Any, steps_per_execution: int):
        super().__init__()
        self.loop, self.steps_per_execution = loop, steps_per_execution

    def on_train_begin(self, logs=None):
        """Give `steps_per_execution` back."""
        self.model.steps_per_execution = self.steps_per_execution

    def on_epoch_end(self, epoch, logs=None):
        """End the pass."""
        self.loop.end_pass()


def wants_every_batch(callback) -> bool:
    """Whether a callback should be called after every step, so that a call runs one step only.

    Keras' own callbacks work with fewer calls, except those with an integer `save_freq` or `update_freq`, and
    `LambdaCallback` with a function for each batch.
    """
    if type(callback).__module__.startswith(("keras.", "kvae.")):
        frequencies = (getattr(callback, name, "epoch") for name in ("save_freq", "update_freq"))
        return any(f not in ("epoch", None) for f in frequencies) or any(name in vars(callback) for name in _PER_BATCH)
    return any(
        getattr(type(callback), name, None) is not getattr(keras.callbacks.Callback, name) for name in _PER_BATCH
    )

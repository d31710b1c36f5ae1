"""Callbacks that save the whole model."""

import math
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from kvae.models.saving import read_note, save_model
from kvae.numerics import arguments, files

_RISING = ("elbo", "reconstruction")  # the logs that are better when higher


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole model at the end of epochs and of the fit, under a temporary name that is then renamed.

    A process that is killed while it writes leaves the file of the save before. (Keras' own `ModelCheckpoint`
    writes in place.) Where the disk is full, or the folder is gone or not writable any more, the training goes on with
    a warning, and the next epoch tries again; at the end of the fit, and under several workers, it is an error, and the
    model is still in memory.
    While a fit runs, no other process can write to the same path with this callback: a lock is held beside it, which
    ends with the process. The file holds the optimizer and kvae's counters: `kvae.load_model(path).fit(...,
    initial_epoch=int(vae.passes))` goes on as if nothing had happened.

    With `on_sigterm`, a process that gets SIGTERM saves its state, in the middle of an epoch too, and exits with status
    143. (A cluster sends SIGTERM before it takes a machine back.) The resumed run ends with the same bytes.
    A second SIGTERM ends it at once.

    Raises:
        BlockingIOError: in a fit, where another process trains with the same filepath.
        OSError: where nothing can be written there, at the beginning and at the end of a fit.

    Args:
        filepath: ends in .keras.
        seconds: do not save at the end of an epoch if the last save is less than this ago; 0 saves every epoch.
        on_sigterm: whether to handle SIGTERM during the fit, which only the main thread can.
    """

    def __init__(self, filepath, seconds: float = 0.0, on_sigterm: bool = False):
        super().__init__()
        self.filepath, self.seconds = _keras_path(filepath), arguments.number("seconds", seconds, 0.0)
        self.on_sigterm = arguments.flag("on_sigterm", on_sigterm)
        self._saved_at = -math.inf
        self._unsaved = False
        self._asked_to_end = self._listening = False
        self._handler_before: Any = None
        self._locked: Any = None

    def on_train_begin(self, logs=None):
        """Make the folder, lock the path, and listen for SIGTERM."""
        arguments.new_file("filepath", self.filepath)
        if self._locked is None:
            self._locked = files.lock(self._lock_path(), str(self.filepath))
            if self._locked is not None:
                files.clear(self.filepath)
        if self.on_sigterm:
            self._asked_to_end = False
            self._handler_before, self._listening = signal.signal(signal.SIGTERM, self._note_sigterm), True

    def _note_sigterm(self, number, frame):
        self._asked_to_end = True
        signal.signal(signal.SIGTERM, self._handler_before)

    def on_train_batch_end(self, batch, logs=None):
        """Save and exit, where SIGTERM has come."""
        if self._asked_to_end:
            self._save()
            raise SystemExit(128 + signal.SIGTERM)

    def on_epoch_end(self, epoch, logs=None):
        """Save, unless the last save was just now."""
        self._unsaved = True
        if time.monotonic() - self._saved_at >= self.seconds:
            _or_warn(self.model, self._save)

    def on_train_end(self, logs=None):
        """Save what is not saved yet."""
        if self._unsaved:
            self._save()
        self.on_fit_exit()

    def on_fit_exit(self):
        """Stop listening for SIGTERM and give up the lock, however the fit has ended."""
        files.unlock(self._lock_path(), self._locked)
        self._locked = None
        if self._listening:
            signal.signal(signal.SIGTERM, self._handler_before)
            self._listening = False

    def _lock_path(self) -> Path:
        return self.filepath.with_name(os.fsdecode(b"." + os.fsencode(self.filepath.name)[:240] + b".lock"))

    def _save(self):
        save_model(self.model, self.filepath)
        self._saved_at, self._unsaved = time.monotonic(), False


class BestCheckpoint(keras.callbacks.Callback):
    """Saves the whole model at the end of every epoch that is the best so far, under a temporary name, then renamed.

    The best value is written into the file, so that after a restart a worse model does not take its place. Where it
    cannot be written, the training goes on with a warning, and the next best epoch tries again.

    Args:
        filepath: ends in .keras.
        monitor: the log to go by. `elbo` and `reconstruction` (and with `val_`) are better when higher, others
            when lower.
    """

    def __init__(self, filepath, monitor: str = "val_elbo"):
        super().__init__()
        if not isinstance(monitor, str):
            raise ValueError(f"monitor must be the name of a log, such as 'val_elbo', got {arguments.shown(monitor)}.")
        self.filepath, self.monitor = _keras_path(filepath), monitor
        self._sign = 1.0 if monitor.removeprefix("val_") in _RISING else -1.0
        self.best: float | None = None

    def on_train_begin(self, logs=None):
        """Make the folder, and read the best value so far, where the file is there and was judged by the same log."""
        arguments.new_file("filepath", self.filepath)
        note = read_note(self.filepath)
        value = note.get("value") if note.get("monitor") == self.monitor else None
        self.best = None if value is None or not math.isfinite(value) else value

    def on_epoch_end(self, epoch, logs=None):
        """Save, where the epoch is the best so far."""
        if self.monitor not in (logs or {}):
            raise ValueError(
                f"BestCheckpoint monitors {self.monitor!r}, but the logs of this fit are {sorted(logs or {})}. Give "
                "fit(validation_data=...), or monitor another log."
            )
        value = float(logs[self.monitor])
        if not math.isfinite(value):
            return
        if self.best is None or self._sign * value > self._sign * self.best:
            note = {"monitor": self.monitor, "value": value, "epoch": epoch}
            _or_warn(self.model, lambda: self._save(value, note))

    def _save(self, value, note):
        save_model(self.model, self.filepath, note)
        self.best = value


def _or_warn(model: keras.Model, save: Callable[[], None]) -> None:
    """Save, or say why that failed: the training goes on, but for that of several workers, who save together."""
    try:
        save()
    except OSError as error:
        if model.distribute_strategy.cluster_resolver is not None:
            raise
        warnings.warn(f"{error.strerror or error} The training goes on; the next save tries again.", stacklevel=2)


def _keras_path(filepath) -> Path:
    path = arguments.path("filepath", filepath)
    if path.suffix != ".keras":
        raise ValueError(f"A checkpoint needs a path that ends in .keras, got {str(filepath)!r}.")
    return path

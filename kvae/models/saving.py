"""Writing and reading `.keras` files so that nothing is half-written and a broken file is named."""

import json
import os
import re
import zipfile
import zlib
from pathlib import Path

import keras

from kvae.numerics import arguments

_NOTE = "kvae.json"
_PARTS = ("metadata.json", "config.json", "model.weights")
_DAMAGED = "it is truncated or damaged. Take a copy of it from elsewhere, or train again."


def check_saved(model, path: Path) -> None:
    """Raise an error where a `.keras` file of the model could not be written, or not be read again."""
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise ValueError(f"filepath must end in .keras, got {str(path)!r}. For a SavedModel use vae.export(path).")
    if path.suffix != ".keras":
        raise ValueError(f"kvae writes .keras files, which keep everything; got {str(path)!r}. Use that ending.")
    encoder, decoder = ({id(layer): layer for layer in network._flatten_layers()} for network in model.parts()[:2])
    shared = sorted(encoder[key].name for key in encoder.keys() & decoder.keys())
    if shared:
        raise ValueError(
            f"This model cannot be saved: encoder and decoder share the layers {shared}. A file would hold two copies "
            "of them, which would part in the next training. Give each network its own layers, or save the weights "
            "(vae.save_weights) and build the networks again."
        )


def save_model(model, path, note: dict | None = None) -> None:
    """Write `path` (ending in .keras) under a temporary name, then rename it; `note` is put into the file."""
    path = arguments.path("path", path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        model.save(temporary)
        if note is not None:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(_NOTE, json.dumps(note))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_note(path) -> dict:
    """What `save_model` was given to note; empty where there is no such file or no note in it.

    Raises:
        ValueError: where the file is no .keras file.
    """
    if not Path(path).exists():
        return {}
    _check_whole(path)
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(_NOTE)) if _NOTE in archive.namelist() else {}


def load_model(path):
    """The model in a `.keras` file, as `keras.models.load_model` gives it, with its optimizer and counters.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where the file is truncated or damaged, or was written with a newer Keras that this one cannot read.
    """
    path = arguments.path("path", path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}. Check the path.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder. If it is a SavedModel, load it with tf.saved_model.load(path).")
    if path.suffix in (".h5", ".hdf5"):
        raise ValueError(f"{path} is an HDF5 file. kvae reads .keras files; write one with vae.save('model.keras').")
    _check_whole(path)
    try:
        return keras.models.load_model(path)
    except (TypeError, ValueError) as error:
        theirs = _keras_of(path)
        if _numbers(theirs) <= _numbers(keras.__version__):
            raise
        raise ValueError(
            f"{path} was written with Keras {theirs} and cannot be read by Keras {keras.__version__}, which is older. "
            f'Mend it with: pip install "keras>={theirs}" (Keras 3.13 and later need Python 3.11), or write the file '
            "anew there."
        ) from error


def _check_whole(path: Path) -> None:
    """Raise a ValueError unless every part of a `.keras` file reads back."""
    try:
        with zipfile.ZipFile(path) as archive:
            bad, names = archive.testzip(), archive.namelist()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise ValueError(f"{path} is not a readable .keras file ({error}): {_DAMAGED}") from error
    missing = [name for name in _PARTS if not any(one.startswith(name) for one in names)]
    if bad is not None or missing:
        what = f"its part {bad} does not read back" if bad is not None else f"it has no {missing[0]}"
        raise ValueError(f"{path} is not a readable .keras file ({what}): {_DAMAGED}")


def _keras_of(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("metadata.json")).get("keras_version", "")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]

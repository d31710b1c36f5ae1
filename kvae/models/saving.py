"""Writing and reading `.keras` files so that nothing is half-written and a broken file is named."""

import json
import os
import re
import zipfile
from pathlib import Path

import keras

_NOTE = "kvae.json"


def save_model(model, path, note: dict | None = None) -> None:
    """Write `path` (ending in .keras) under a temporary name, then rename it; `note` is put into the file."""
    path = Path(path)
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
    """What `save_model` was given to note; empty where there is no such file or no note in it."""
    if not Path(path).exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(_NOTE)) if _NOTE in archive.namelist() else {}


def load_model(path):
    """The model in a `.keras` file, as `keras.models.load_model` gives it, with its optimizer and counters.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where the file is truncated or damaged, or was written with a newer Keras that this one cannot read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    damaged = "it is truncated or damaged. Take a copy of it from elsewhere, or train again."
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a readable .keras file: {damaged}")
    with zipfile.ZipFile(path) as archive:
        try:
            bad = archive.testzip()
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise ValueError(f"{path} is not a readable .keras file ({error}): {damaged}") from error
    if bad is not None:
        raise ValueError(f"{path} is not a readable .keras file (its part {bad} does not read back): {damaged}")
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


def _keras_of(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("metadata.json")).get("keras_version", "")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]

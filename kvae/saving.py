"""Writing and reading `.keras` files so that nothing is half-written and a broken file is named."""

import os
import zipfile
from pathlib import Path

import keras


def save_model(model, path) -> None:
    """Write `path` (ending in .keras) under a temporary name, then rename it."""
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        model.save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_model(path):
    """The model in a `.keras` file, as `keras.models.load_model` gives it, with its optimizer and counters.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where the file is truncated or damaged.
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
    return keras.models.load_model(path)

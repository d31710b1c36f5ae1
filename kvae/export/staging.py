"""A SavedModel is written under a temporary name and gets its own when it is complete."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from kvae.numerics import arguments, files, gradients

MANIFEST = "assets.extra/manifest.json"
MANIFEST_SUM = "assets.extra/manifest.sha256"  # as `sha256sum -c` reads it


def new_path(path) -> Path:
    """A path where a SavedModel can be written; its folder is made where it is missing.

    Raises:
        FileExistsError: where it exists.
        ValueError: for what is no path.
        OSError: where nothing can be written there.
    """
    path = arguments.path("path", path)
    if path.exists():
        raise FileExistsError(
            f"{path} exists and is not overwritten. Export to another path, for example "
            f"kvae.export.next_version({str(path.parent)!r})."
        )
    arguments.make_folder(path.parent)
    return path


def write(path: Path, model, table: dict, manifest_of: Callable[[Path], dict]) -> dict:
    """Write the functions of a Keras model as a SavedModel to a `new_path`, and return its manifest.

    Args:
        path: of the SavedModel.
        model: whose weights it holds.
        table: name to function and inputs.
        manifest_of: a function of the folder with the SavedModel. It may write into the folder's `assets.extra`.

    Raises:
        FileExistsError: where `path` came into being meanwhile.
        OSError: where it cannot be written, such as for a full disk. Nothing is left of it then.
    """
    try:
        with files.staging(path.parent) as staged:
            return _write(staged / "model", path, model, table, manifest_of)
    except FileExistsError:
        raise
    except (OSError, tf.errors.OpError) as error:
        raise files.not_written(path, error) from error


def _write(folder: Path, path: Path, model, table: dict, manifest_of: Callable[[Path], dict]) -> dict:
    """Write to `folder`, and give that the name `path`."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, inputs) in table.items():
        archive.add_endpoint(name, _traced(function, inputs), inputs)
    archive.write_out(str(folder), verbose=False)
    (folder / "assets.extra").mkdir()
    written = manifest_of(folder)
    text = (json.dumps(written, indent=1, allow_nan=False) + "\n").encode()
    (folder / MANIFEST).write_bytes(text)
    (folder / MANIFEST_SUM).write_text(f"{hashlib.sha256(text).hexdigest()}  {Path(MANIFEST).name}\n")
    if path.exists():
        raise FileExistsError(
            f"{path} came into being during the export and is not overwritten. Export again to another path."
        )
    os.rename(folder, path)
    return written


def _traced(function: Callable, inputs: list[tf.TensorSpec]) -> Callable:
    """A function that calls one trace of `function`. Otherwise Keras and TensorFlow would each trace it again."""
    with gradients.left_out():
        trace = tf.function(function, input_signature=inputs, autograph=False).get_concrete_function()
    return lambda *tensors: trace(*tensors)

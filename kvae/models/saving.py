"""Writing and reading `.keras` files so that nothing is half-written and a broken file is named."""

import json
import re
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras

from kvae.models import archive
from kvae.numerics import arguments, files


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


def save_whole(save: Callable, filepath, overwrite: bool = True, **options) -> None:
    """Let Keras' own `save` of a model write a file that is whole, or the one that was there."""
    path = arguments.new_file("filepath", filepath)
    if path.exists() and not overwrite:
        save(path, overwrite=False, **options)  # which asks at the keyboard
        return
    with files.whole(path) as temporary:
        save(temporary, **options)


def save_model(model, path, note: dict | None = None) -> None:
    """Write `path` (ending in .keras) under a temporary name, then rename it; `note` is put into the file."""
    with files.whole(arguments.path("path", path)) as temporary:
        model.save(temporary)
        if note is not None:
            with zipfile.ZipFile(temporary, "a") as file:
                file.writestr(archive.NOTE, json.dumps(note))


def read_note(path) -> dict:
    """What `save_model` was given to note; empty where there is no such file or no note in it.

    Raises:
        ValueError: where the file is no .keras file, or one that `load_model` refuses for its parts.
    """
    path = Path(path)
    return archive.read(path).note if path.exists() else {}


def load_model(path):
    """The model in a `.keras` file, as `keras.models.load_model` gives it, with its optimizer and counters.

    The file is judged before anything is made of it. Python code in it is not run, whatever Keras' safe mode is.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where the file is truncated or damaged, or was written with a newer Keras that this one cannot read;
            where it holds Python code, parts that would be written elsewhere or are much larger than what is stored of
            them, or asks for more weights than it holds; where a class in it is not known.
    """
    path = arguments.path("path", path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}. Check the path.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder. If it is a SavedModel, load it with tf.saved_model.load(path).")
    if path.suffix in (".h5", ".hdf5"):
        raise ValueError(f"{path} is an HDF5 file. kvae reads .keras files; write one with vae.save('model.keras').")
    content = archive.read(path)
    archive.refuse_code(path, content.config)
    with archive.no_more_weights_than(content) as refused:
        try:
            return keras.models.load_model(path, safe_mode=True)
        except Exception as error:  # Keras' layers and parts of one's own raise what they like
            raise ValueError(f"{path} {_reason(error, content, refused)}") from error


def _reason(error: Exception, content: archive.Content, refused: list[str]) -> str:
    """Why a file whose parts all read back is not read, and what to do."""
    theirs = content.keras_version
    if refused:
        return f"cannot be read: {refused[0]}. It is damaged or hostile: take another copy, or train again."
    if _version(theirs) > _version(keras.__version__):
        return (
            f"was written with Keras {theirs} and cannot be read by Keras {keras.__version__}, which is older. "
            f'Mend it with: pip install "keras>={theirs}" (Keras 3.13 and later need Python 3.11), or write the file '
            "anew there."
        )
    text = textwrap.shorten(str(error), 500, placeholder=" ...")
    return f"cannot be read: {text} ({type(error).__name__}). Import the modules of your own classes in it first."


def _version(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]

"""What a `.keras` file holds, read and judged before anything is made of it."""

import contextlib
import io
import json
import math
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import h5py
import keras

NOTE = "kvae.json"
_WEIGHTS = "model.weights.h5"
_PARTS = ("metadata.json", "config.json", _WEIGHTS)
_CODE = ("__lambda__", "Lambda", "TFSMLayer", "TorchModuleWrapper")  # what Keras runs or reads outside the safe mode
_MEMBERS = 10_000
_SMALL, _RATIO = 2**24, 100  # Keras does not compress: a part of more bytes than `_SMALL` has no such ratio
_COPIES, _MORE = 4, 10**6  # of a weight: itself and the optimizer's; what is not in the file, such as counters
_LOADING = threading.RLock()
_DAMAGED = "it is truncated or damaged. Take a copy of it from elsewhere, or train again."
_HOSTILE = "Do not use it, unless you know who wrote it and why; kvae and Keras write no such file."


class Content(NamedTuple):
    """The parts that are JSON, and how many numbers the weights' part holds."""

    config: dict
    keras_version: str
    note: dict
    numbers: int


def read(path: Path) -> Content:
    """The content of a `.keras` file, of which every part reads back.

    Raises:
        ValueError: where it does not, and where a part would be written elsewhere or is much larger than what is stored
            of it.
    """
    numbers, parts, refused, broken = 0, {}, None, None
    try:
        with zipfile.ZipFile(path) as archive:
            refused = _hostile(archive.infolist(), path.stat().st_size)
            broken = _broken(archive) if refused is None else None
            if refused is None and broken is None:
                parts = {name: archive.read(name) for name in archive.namelist() if name in (*_PARTS, NOTE)}
                numbers, refused = _numbers(parts[_WEIGHTS])
        config, metadata, note = (json.loads(parts.get(name, b"{}")) for name in ("config.json", "metadata.json", NOTE))
    except Exception as error:  # there are many ways not to be a zip, JSON or HDF5 file
        raise ValueError(f"{path} is not a readable .keras file ({error}): {_DAMAGED}") from error
    if refused is not None:
        raise ValueError(f"{path} is refused: {refused}. {_HOSTILE}")
    if not all(isinstance(one, dict) for one in (config, metadata, note)):
        broken = "its JSON is of another kind"
    if broken is not None:
        raise ValueError(f"{path} is not a readable .keras file ({broken}): {_DAMAGED}")
    return Content(config, str(metadata.get("keras_version", "")), note, numbers)


def refuse_code(path: Path, config: dict) -> None:
    """Raise a ValueError where a configuration holds Python code."""
    if code := _code(config):
        raise ValueError(
            f"{path} is refused: it holds {code}, which would run code that came with the file. Where you trust who "
            "wrote it, keras.models.load_model(path, safe_mode=False) loads it; before you save a model, replace its "
            "Lambda layers by layers of registered classes."
        )


def _hostile(parts: list[zipfile.ZipInfo], size: int) -> str | None:
    """What a list of parts in a file of that size must not hold."""
    if len(parts) > _MEMBERS:
        return f"it has {len(parts)} parts, where a model has four"
    names = [part.filename for part in parts]
    if len(set(names)) < len(names):
        return "it has two parts of one name"
    for part in parts:
        place = PurePosixPath(part.filename)
        if place.is_absolute() or ".." in place.parts or set("\\:\0") & set(part.orig_filename):
            return f"its part {part.filename!r} would be written outside of its folder"
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return f"its part {part.filename!r} is compressed in a way that Keras does not use"
        if part.file_size > max(_SMALL, _RATIO * part.compress_size):
            return f"its part {part.filename!r} would be {part.file_size} bytes, of {part.compress_size} that are there"
    stored = sum(part.compress_size for part in parts)
    return f"its parts have {stored} bytes, and the file has {size}" if stored > size else None


def _broken(archive: zipfile.ZipFile) -> str | None:
    """What is wrong with the parts of a `.keras` file."""
    bad = archive.testzip()
    if bad is not None:
        return f"its part {bad} does not read back"
    missing = [name for name in _PARTS if name not in archive.namelist()]
    return f"it has no {missing[0]}" if missing else None


def _numbers(content: bytes) -> tuple[int, str | None]:
    """How many numbers an HDF5 file holds, and what it must not hold."""
    found: list[h5py.Dataset] = []
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(lambda _, one: found.append(one) if isinstance(one, h5py.Dataset) else None)
        if any(one.external or one.is_virtual for one in found):
            return 0, "its weights are in another file"
        size = sum(math.prod(one.shape) * one.dtype.itemsize for one in found)
        if size > len(content):
            return 0, f"its weights would be {size} bytes, of {len(content)} that are there"
        return sum(math.prod(one.shape) for one in found), None


def _code(config: Any) -> str | None:
    """The name of a class in a configuration that stands for code."""
    found = [config]
    while found:
        one = found.pop()
        if isinstance(one, dict):
            if one.get("class_name") in _CODE:
                return f"a {str(one['class_name']).strip('_')}"
            found += one.values()
        elif isinstance(one, list):
            found += one
    return None


@contextlib.contextmanager
def no_more_weights_than(content: Content) -> Iterator[list[str]]:
    """Refuse layers of this thread that ask for more weights than the file holds; gives what was refused.

    A file of some kilobytes can ask for a layer of terabytes. The limit leaves room for an optimizer, which has two or
    three numbers for each of the model's, and for what is not saved.
    """
    most, thread, refused, asked = _COPIES * content.numbers + _MORE, threading.get_ident(), [], 0

    def checked(self, *args, shape=None, **kwargs):
        nonlocal asked
        if threading.get_ident() == thread:
            given = args[0] if args else shape
            sizes = given if isinstance(given, (tuple, list)) else () if given is None else (given,)
            asked += math.prod(int(size) for size in sizes if size is not None)
            if asked > most:
                refused.append(f"its layers ask for {asked} weights (to {self.name!r}) and it holds {content.numbers}")
                raise MemoryError(refused[-1])
        return add_weight(self, *args, shape=shape, **kwargs)

    with _LOADING:
        add_weight = keras.layers.Layer.add_weight
        keras.layers.Layer.add_weight = checked
        try:
            yield refused
        finally:
            keras.layers.Layer.add_weight = add_weight

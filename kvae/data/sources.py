"""Where data come from: files and packages, as arrays `x_train`, `y_train`, `x_test` and so on."""

import gzip
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from kvae._environment import install
from kvae.data import images
from kvae.data.shards import ARRAYS, mapped, read_shards
from kvae.numerics.arguments import path as checked_path

_IDX = {
    "x_train": "train-images*",
    "y_train": "train-labels*",
    "x_test": "t10k-images*",
    "y_test": "t10k-labels*",
}
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PARTS = {"train": "train", "test": "test", "validation": "validation", "val": "validation", "valid": "validation"}
READ = (
    "kvae reads 'digits', files ending in .npz, folders (of images, .npy or IDX files) and the names of "
    "tensorflow-datasets, such as 'mnist'. Read others yourself and give the arrays to kvae.data.from_arrays."
)


def digits() -> dict[str, Any]:
    """The digits of scikit-learn, pixels 0..16, with a fixed test part."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(f"The digits come with scikit-learn: {install('examples')}") from error
    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.images))
    x, y = digits.images[order].astype(np.uint8), digits.target[order]
    return {"x_train": x[:1500], "y_train": y[:1500], "x_test": x[1500:], "y_test": y[1500:]}


def npz(path: Path) -> dict[str, Any]:
    """The arrays of an `.npz` file."""
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}. Check the path.")
    reason: str | None = None
    try:
        with zipfile.ZipFile(path) as archive:  # NumPy reads no checksum where a header makes an array shorter
            bad = archive.testzip()
            reason = bad and f"its part {bad} does not read back"
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key: file[key] for key in ARRAYS if key in file}
            names = sorted(file)
    except Exception as error:  # there are many ways not to be a zip file of arrays
        reason = reason or str(error) or type(error).__name__
    if reason is not None:
        raise ValueError(
            f"{path} is not a readable .npz file of numbers ({reason}). Write it with numpy.savez(path, x_train=...)."
        )
    if "x_train" not in arrays:
        raise ValueError(
            f"{path} needs an array x_train, it holds {names}. Write it with numpy.savez(path, x_train=...)."
        )
    return arrays


def folder(path, size=None, channels: int | None = None, unreadable: str = "raise") -> dict[str, Any]:
    """The arrays in a folder. It holds one of these; the first that is found counts:

    - `x_train.npy`, and perhaps `x_test.npy`, `y_train.npy` and so on: memory-mapped, so that they may be larger
      than memory. Or each in several files, `x_train-00000-of-00010.npy` to `x_train-00009-of-00010.npy`, see
      `kvae.data.write_shards`: read as one array.
    - MNIST's IDX files, such as `train-images-idx3-ubyte` or `t10k-labels-idx1-ubyte.gz`.
    - Images of one size, in `train/`, `test/` and `validation/` (or `val/`), or all in the folder itself. Where those
      have subfolders, their sorted names are the classes 0, 1, ... TensorFlow reads PNG, JPEG, BMP, GIF (the first
      frame) and, where it is new enough, WebP; of 16 bits a channel it keeps 8.

    Args:
        path: of the folder.
        size: (height, width), to which images are resized: bilinear, with antialiasing where they shrink. The sides
            need not keep their ratio.
        channels: 1 for grey images, 3 for colours; transparent images are then laid on white. By default as they are.
        unreadable: "raise" to stop at an image that cannot be read, "skip" to leave it out.

    Returns:
        Names to arrays. For images with subfolders also `classes`, and `skipped` where files were left out.
    """
    path, form = checked_path("path", path), images.Form(size, channels, unreadable)
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder {path}. Check the path.")
    idx = {name: file for name, pattern in _IDX.items() for file in sorted(path.glob(pattern))[:1]}
    arrays = {name: array for name in ARRAYS if (array := _array(path, name)) is not None}
    if "x_train" in arrays or "x_train" in idx:
        form.refuse_arrays(path)
    if "x_train" in arrays:
        return arrays
    if "x_train" in idx:
        return {name: read_idx(file) for name, file in idx.items()}
    places = {part: path / name for name, part in _PARTS.items() if (path / name).is_dir()}
    return images.read(places if "train" in places else {"train": path}, form)


def _array(path: Path, name: str):
    """An array of a folder, in one file or several, or None."""
    found, file = read_shards(path, name), path / f"{name}.npy"
    return mapped(file) if found is None and file.exists() else found


def read_idx(path) -> np.ndarray:
    """The array in an IDX file, compressed with gzip or not.

    Two zero bytes, a byte for the type, a byte for the number of axes, the sizes as big-endian int32, the numbers.

    Raises:
        ValueError: where the file is something else, or not as long as it says.
    """
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} is truncated or damaged: it cannot be unpacked ({error}). Take a copy of it from elsewhere."
        ) from error
    kind = _IDX_TYPES.get(content[2]) if len(content) >= 4 and content[:2] == b"\0\0" else None
    if kind is None:
        raise ValueError(
            f"{path} is not an IDX file: it begins with {content[:4]!r}, where two zero bytes stand. "
            "Take a copy of the original, such as train-images-idx3-ubyte.gz."
        )
    begin = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:begin], ">i4")
    expected = begin + int(np.prod(shape)) * np.dtype(kind).itemsize
    if len(shape) != content[3] or len(content) != expected:
        raise ValueError(
            f"{path} is truncated or damaged: it has {len(content)} bytes and promises {expected}. "
            "Take a copy of it from elsewhere."
        )
    return np.frombuffer(content[begin:], kind).reshape(shape).astype(np.dtype(kind).newbyteorder("="))


def tensorflow_datasets(name: str, data_dir, form: images.Form) -> dict[str, Any]:
    """The images and labels of a data set that tensorflow-datasets has prepared."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise ValueError(f"There is no data set {name!r}. {READ}") from error
    except (AssertionError, ImportError, ValueError) as error:
        if str(error).startswith("Parsing builder name"):
            raise ValueError(f"There is no file, folder or data set {name!r}. {READ}") from None
        raise ValueError(f"tensorflow-datasets cannot make {name!r}: {str(error).strip().splitlines()[0]}") from error
    key = next((key for key in ("image", "features") if key in (builder.info.features or {})), None)
    if builder.info.features and key is None:
        raise ValueError(
            f"The examples of {name!r} have no 'image' and no 'features', but {sorted(builder.info.features)}. Load "
            "it with tfds.load, and give kvae the part that is x: kvae.data.from_arrays, or a tf.data.Dataset to fit."
        )
    parts: dict[str, Any] = {}
    for split in ("train", "test"):
        if split == "test" and split not in builder.info.splits and builder.info.splits:
            continue
        try:
            examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
        except (AssertionError, ValueError) as error:
            raise ValueError(
                f"tensorflow-datasets has no prepared {name!r} under {builder.data_dir}. Prepare it where there is a "
                f"network: tfds.load({name!r}, data_dir=...), then give that data_dir."
            ) from error
        values = [form(e[key]) if e[key].ndim == 3 and e[key].dtype == np.uint8 else e[key] for e in examples]
        for number, value in enumerate(values):
            if value.shape != values[0].shape:
                raise form.different(f"example 0 of {name!r}", values[0].shape, f"example {number}", value.shape)
        parts[f"x_{split}"] = np.stack(values)
        if "label" in examples[0]:
            parts[f"y_{split}"] = np.asarray([example["label"] for example in examples])
    return parts

"""Where data come from: files and packages, as arrays `x_train`, `y_train`, `x_test` and so on."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kvae._environment import install

_ARRAYS = ("x_train", "x_validation", "x_test", "y_train", "y_validation", "y_test")
_IDX = {
    "x_train": "train-images*",
    "y_train": "train-labels*",
    "x_test": "t10k-images*",
    "y_test": "t10k-labels*",
}
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp")


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


def npz(path: str) -> dict[str, Any]:
    """The arrays of an `.npz` file."""
    with np.load(path, allow_pickle=False) as file:
        if "x_train" not in file:
            raise ValueError(f"{path} needs an array x_train, it holds {sorted(file)}.")
        return {key: file[key] for key in _ARRAYS if key in file}


def folder(path) -> dict[str, Any]:
    """The arrays in a folder. It holds one of these; the first that is found counts:

    - `x_train.npy`, and perhaps `x_test.npy`, `y_train.npy` and so on: memory-mapped, so that they may be larger
      than memory. `split.dataset()` reads them batch by batch; `fit(split)` copies the split to memory.
    - MNIST's IDX files, such as `train-images-idx3-ubyte` or `t10k-labels-idx1-ubyte.gz`.
    - Images (PNG, JPEG, BMP) of one size, in `train/`, `test/` and `validation/`, or all in the folder itself.
      Where those have subfolders, their sorted names are the classes 0, 1, ...
    """
    path = Path(path)
    if (path / "x_train.npy").exists():
        found = {name: path / f"{name}.npy" for name in _ARRAYS}
        return {name: np.load(file, mmap_mode="r") for name, file in found.items() if file.exists()}
    idx = {name: file for name, pattern in _IDX.items() for file in sorted(path.glob(pattern))[:1]}
    if "x_train" in idx:
        return {name: read_idx(file) for name, file in idx.items()}
    places = {part: path / part for part in ("train", "test", "validation") if (path / part).is_dir()}
    parts: dict[str, Any] = {}
    for part, place in (places if "train" in places else {"train": path}).items():
        parts[f"x_{part}"], labels = _images(place)
        if labels is not None:
            parts[f"y_{part}"] = labels
    return parts


def read_idx(path) -> np.ndarray:
    """The array in an IDX file, compressed with gzip or not.

    Two zero bytes, a byte for the type, a byte for the number of axes, the sizes as big-endian int32, the numbers.

    Raises:
        ValueError: where the file is something else, or not as long as it says.
    """
    path = Path(path)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    kind = _IDX_TYPES.get(content[2]) if len(content) >= 4 and content[:2] == b"\0\0" else None
    if kind is None:
        raise ValueError(f"{path} is not an IDX file: it begins with {content[:4]!r}.")
    begin = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:begin], ">i4")
    expected = begin + int(np.prod(shape)) * np.dtype(kind).itemsize
    if len(shape) != content[3] or len(content) != expected:
        raise ValueError(f"{path} is truncated or damaged: it has {len(content)} bytes and promises {expected}.")
    return np.frombuffer(content[begin:], kind).reshape(shape).astype(np.dtype(kind).newbyteorder("="))


def _images(place: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The images under a folder, uint8 `[N, H, W, C]`, and their classes where it has subfolders."""
    classes = sorted(sub.name for sub in place.iterdir() if sub.is_dir())
    files = sorted(file for file in place.rglob("*") if file.suffix.lower() in _IMAGES)
    if not files:
        raise ValueError(
            f"{place} holds nothing that kvae reads: x_train.npy, IDX files (train-images-idx3-ubyte), or images that "
            f"end in {', '.join(_IMAGES)}."
        )
    images = [tf.io.decode_image(file.read_bytes(), expand_animations=False).numpy() for file in files]
    for file, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise ValueError(
                f"The images of a data set must be of one size, but {files[0]} has shape {images[0].shape} and {file} "
                f"{image.shape}. Resize them, for example with tf.image.resize."
            )
    if not classes:
        return np.stack(images), None
    return np.stack(images), np.array([classes.index(file.relative_to(place).parts[0]) for file in files])


def tensorflow_datasets(name: str, data_dir: str | None) -> dict[str, Any]:
    """The images and labels of a data set that tensorflow-datasets has prepared."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise ValueError(
            f"There is no data set {name!r}: kvae knows 'digits', files ending in .npz, folders, and the "
            "names of tensorflow-datasets."
        ) from error
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
        shapes = {example[key].shape for example in examples}
        if len(shapes) > 1:
            raise ValueError(
                f"The images of a data set must be of one size, but those of {name!r} have {len(shapes)}, such as "
                f"{sorted(shapes)[:2]}. Resize them: a tf.data.Dataset of batches can be given to fit."
            )
        parts[f"x_{split}"] = np.stack([example[key] for example in examples])
        if "label" in examples[0]:
            parts[f"y_{split}"] = np.asarray([example["label"] for example in examples])
    return parts

"""Images of folders, as arrays."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kvae.numerics.arguments import choice, sizes

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")  # TensorFlow says which it reads


class Form:
    """The form that images are brought to.

    Args:
        size: (height, width), to which images are resized (bilinear, with antialiasing where they shrink; their sides
            need not keep their ratio); None leaves them as they are.
        channels: 1 (grey) or 3 (colours): colours become grey by 0.2989 R + 0.5870 G + 0.1140 B, and transparent
            images are laid on white; None leaves them as they are, with an alpha channel where they have one.
        unreadable: "raise" to stop at a file that cannot be read, "skip" to leave it out.
    """

    def __init__(self, size=None, channels: int | None = None, unreadable: str = "raise"):
        self.size = None if size is None else sizes("size", size)
        if self.size is not None and len(self.size) != 2:
            raise ValueError(f"size must be (height, width), such as (64, 64), got {size!r}.")
        self.channels = channels if channels is None else choice("channels", channels, (1, 3))
        self.skip = choice("unreadable", unreadable, ("raise", "skip")) == "skip"

    def refuse_arrays(self, path) -> None:
        """Raise a ValueError where a form was asked for, but the path holds arrays."""
        if self.size is not None or self.channels is not None or self.skip:
            raise ValueError(
                f"size, channels and unreadable are for folders of images, but {path} holds arrays. Leave them out."
            )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The image `[H, W, C]`, uint8 pixels, in this form: uint8."""
        if self.channels not in (None, image.shape[-1]):
            image = _with_channels(image.astype(np.float32), self.channels)
        if self.size not in (None, image.shape[:2]):
            image = tf.image.resize(tf.cast(image, tf.float32), self.size, antialias=True).numpy()
        return image if image.dtype == np.uint8 else np.rint(image).clip(0, 255).astype(np.uint8)

    def different(self, one: str, shape: tuple, other: str, other_shape: tuple) -> ValueError:
        """What to say of two images of different shapes, each with the name of where it came from."""
        remedies = ["size=(height, width), such as size=(64, 64)"] if shape[:2] != other_shape[:2] else []
        remedies += ["channels=1 (grey) or 3 (colours)"] if shape[2:] != other_shape[2:] else []
        return ValueError(
            f"The images of a data set must be of one size, but {one} has shape {shape} and {other} {other_shape}. "
            f"Give kvae.data.load {' and '.join(remedies)}."
        )


def _with_channels(image: np.ndarray, channels: int | None) -> np.ndarray:
    """Float pixels `[H, W, 1 or 3]` of float pixels with 1, 2 (alpha), 3 or 4 (alpha) channels."""
    if image.shape[-1] in (2, 4):
        alpha = image[..., -1:] / 255.0
        image = alpha * image[..., :-1] + (1.0 - alpha) * 255.0
    if channels == 3:
        return np.broadcast_to(image, (*image.shape[:2], 3))
    return image if image.shape[-1] == 1 else image @ np.array([[0.2989], [0.5870], [0.1140]], np.float32)


def read(places: dict[str, Path], form: Form) -> dict[str, Any]:
    """The images under the folders, by the names of parts: uint8 `[N, H, W, C]`.

    Args:
        places: names of parts, such as "train", to folders.
        form: of the images.

    Returns:
        `x_train` and so on; `y_train` and `classes`, the sorted names of the subfolders of all parts, where there are
        any; `skipped`, the files that were left out, where there are any.
    """
    files = {part: _files(place) for part, place in places.items()}
    classes = sorted({name for part, place in places.items() for name in _classes(place, files[part])})
    parts: dict[str, Any] = {}
    skipped: list[str] = []
    first: tuple[Path, tuple] | None = None
    for part, place in places.items():
        kept: list[Path] = []
        for file, image in _decoded(files[part], form, skipped if form.skip else None):
            first = first or (file, image.shape)
            if image.shape != first[1]:
                raise form.different(str(first[0]), first[1], str(file), image.shape)
            if not kept:
                x = np.empty((len(files[part]), *image.shape), np.uint8)
            x[len(kept)] = image
            kept.append(file)
        if not kept:
            raise ValueError(
                f"None of the {len(files[part])} images in {place} can be read, {files[part][0]} is one. "
                "Convert or repair them."
            )
        parts[f"x_{part}"] = x[: len(kept)]
        if classes:
            parts[f"y_{part}"] = np.array([classes.index(file.relative_to(place).parts[0]) for file in kept])
    return parts | ({"classes": tuple(classes)} if classes else {}) | ({"skipped": tuple(skipped)} if skipped else {})


def _files(place: Path) -> list[Path]:
    """The images under a folder, sorted, without hidden ones."""
    found = [file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()]
    found = sorted(file for file in found if not any(part[0] == "." for part in file.relative_to(place).parts))
    if not found:
        raise ValueError(
            f"{place} holds nothing that kvae reads: x_train.npy, IDX files (train-images-idx3-ubyte), or images that "
            f"end in {', '.join(SUFFIXES[:-2])}."
        )
    return found


def _classes(place: Path, files: list[Path]) -> set[str]:
    """The names of the subfolders that hold the images; none where all lie in the folder itself."""
    names = {file.relative_to(place).parts[0]: file for file in files if file.parent != place}
    beside = next((file for file in files if file.parent == place), None)
    if names and beside is not None:
        raise ValueError(
            f"{place} holds images beside subfolders: {beside} has no class, and {next(iter(names.values()))} has. "
            "Put all into subfolders, one for each class, or all into one folder."
        )
    return set(names)


def _decoded(files: list[Path], form: Form, skipped: list[str] | None) -> Iterator[tuple[Path, np.ndarray]]:
    """Files and their images; those that cannot be read are added to `skipped`, or an error where that is None."""
    for file in files:
        try:
            image = tf.io.decode_image(file.read_bytes(), expand_animations=False).numpy()
        except (OSError, tf.errors.OpError) as error:
            if skipped is None:
                reason = error.message if isinstance(error, tf.errors.OpError) else str(error)
                reason = re.sub(r"\{\{.*?\}\} ?| ?\[Op:\w+\]", "", reason).strip(" .")
                raise ValueError(
                    f"{file} cannot be read as an image: {reason}. Convert, repair or remove it, or leave such files "
                    "out with unreadable='skip'."
                ) from None
            skipped.append(str(file))
            continue
        yield file, form(image)

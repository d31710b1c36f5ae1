"""Whether a SavedModel is still what was exported."""

import hashlib
import json
from pathlib import Path

from kvae.export.staging import MANIFEST, MANIFEST_SUM
from kvae.numerics import arguments


def verify(path) -> dict:
    """Compare every file of a SavedModel with the SHA-256 in its manifest, and return the manifest.

    TensorFlow checks the weights when it loads them, but not the graph, in which numbers stand as well: a damaged one
    may load and answer wrongly. So check before you load a SavedModel that was copied or kept for long.

    Files that are not in the manifest are not looked at.

    Raises:
        FileNotFoundError: where there is no folder `path`, or no manifest in it.
        ValueError: where a file is missing or another than the one that was exported; for what is no path.
    """
    path = arguments.path("path", path)
    if not (path / MANIFEST).is_file():
        raise FileNotFoundError(
            f"{path} holds no {MANIFEST}, which kvae puts into what it exports. Give the folder of a version."
        )
    content, total = (path / MANIFEST).read_bytes(), path / MANIFEST_SUM
    if total.is_file() and total.read_bytes() != f"{_digest(content)}  {Path(MANIFEST).name}\n".encode():  # not of old
        raise ValueError(_damaged(path, MANIFEST))
    try:
        manifest = json.loads(content)
        digests = dict(manifest["sha256"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(_damaged(path, MANIFEST)) from None
    for name, digest in digests.items():
        file = path / name
        if not file.is_file() or _digest(file.read_bytes()) != digest:
            raise ValueError(_damaged(path, name))
    return manifest


def _damaged(path: Path, name: str) -> str:
    return f"{path} is damaged: its file {name} is not what was exported, or missing. Copy or export it again."


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

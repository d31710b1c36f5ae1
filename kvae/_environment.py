"""What kvae needs around it, checked before anything heavy is imported."""

import importlib.util
import os
from importlib import metadata

try:
    VERSION = metadata.version("kvae-keras")
except metadata.PackageNotFoundError:  # run from a source tree that was not installed
    VERSION = "unknown"

_TF_KERAS = 'pip install "tf_keras>=2.21,<2.22"'


def check() -> None:
    """Raise one clear ImportError where the environment cannot work.

    TensorFlow Probability 0.25 needs `tf_keras` of TensorFlow's own minor version but does not declare it,
    and kvae's training step is written for the TensorFlow backend of Keras.
    """
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise ImportError(
            f"kvae runs on Keras' TensorFlow backend, but KERAS_BACKEND is {backend!r}. "
            "Set it before Python starts: export KERAS_BACKEND=tensorflow"
        )
    for package in ("tensorflow", "keras", "tensorflow_probability"):
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"kvae needs {package}. Mend it with: pip install --upgrade kvae")
    if importlib.util.find_spec("tf_keras") is None:
        raise ImportError(
            "tensorflow-probability cannot be imported without tf_keras, which is not installed. "
            f"Mend it with: {_TF_KERAS}"
        )
    ours, theirs = _minor("tensorflow"), _minor("tf_keras")
    if ours and theirs and ours != theirs:
        raise ImportError(
            f"tf_keras {theirs} does not fit tensorflow {ours}: both need the same minor version. "
            f'Mend it with: pip install "tf_keras=={ours}.*"'
        )


def check_backend() -> None:
    """Raise an ImportError where Keras itself was configured (keras.json) for another backend."""
    import keras

    if keras.config.backend() != "tensorflow":
        raise ImportError(
            f"kvae runs on Keras' TensorFlow backend, but Keras was set up for {keras.config.backend()!r}. "
            "Set it before Python starts: export KERAS_BACKEND=tensorflow"
        )


def _minor(package: str) -> str:
    try:
        return ".".join(metadata.version(package).split(".")[:2])
    except metadata.PackageNotFoundError:  # e.g. tensorflow-cpu or a vendor's build
        return ""

"""What kvae needs around it, checked before anything heavy is imported."""

from __future__ import annotations  # so that `check` can speak on a Python before 3.10, too

import importlib.util
import os
import sys
from importlib import metadata
from typing import NamedTuple

DISTRIBUTION = "kvae-keras"
PYTHONS = ((3, 10), (3, 13))  # the first and the last that have been tested, as `requires-python` has it

try:
    VERSION = metadata.version(DISTRIBUTION)
except metadata.PackageNotFoundError:  # run from a source tree that was not installed
    VERSION = "unknown"


class Optional(NamedTuple):
    """A package that kvae can do without: what it is for, and the extra that brings it."""

    package: str
    module: str
    purpose: str
    extra: str


OPTIONAL = (
    Optional("scikit-learn", "sklearn", "the embedded digits, nearest neighbours, disentanglement", "examples"),
    Optional("matplotlib", "matplotlib", "figures", "examples"),
    Optional("scipy", "scipy", "false discovery rate and drift of kvae.anomaly", "anomaly"),
    Optional("constriction", "constriction", "the entropy coder of kvae.compress", "compress"),
    Optional("tensorboard", "tensorboard", "the callback TensorBoard", "tensorboard"),
    Optional("tensorflow-serving-api", "tensorflow_serving", "the gRPC client of examples/serve", "serving"),
    Optional("openvino", "openvino", "a second reader of SavedModels in the tests", "serving"),
    Optional("ray", "ray", "examples/score.py on several machines", "batch"),
    Optional("dask", "dask", "examples/score.py on several machines", "batch"),
    Optional("pydmd", "pydmd", "a second dynamic mode decomposition in the tests", "peers"),
)


def install(extra: str | None = None) -> str:
    """The command that installs kvae, or one of its extras."""
    return f"pip install {DISTRIBUTION}" if extra is None else f'pip install "{DISTRIBUTION}[{extra}]"'


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
        if not found(package):
            raise ImportError(_missing(package))
    ours, theirs = _minor("tensorflow"), _minor("tf_keras")
    if not found("tf_keras"):
        raise ImportError(
            "tensorflow-probability cannot be imported without tf_keras, which is not installed. "
            f"Mend it with: {_tf_keras(ours)}"
        )
    if ours and theirs and ours != theirs:
        raise ImportError(
            f"tf_keras {theirs} does not fit tensorflow {ours}: both need the same minor version. "
            f"Mend it with: {_tf_keras(ours)}"
        )
    if sys.version_info >= (3, 12) and not found("distutils"):  # setuptools brings it
        raise ImportError(
            "tensorflow-probability needs distutils, which left Python with 3.12 and comes with setuptools now. "
            "Mend it with: pip install setuptools"
        )


def check_backend() -> None:
    """Raise an ImportError where Keras itself was configured (keras.json) for another backend."""
    import keras

    if keras.config.backend() != "tensorflow":
        raise ImportError(
            f"kvae runs on Keras' TensorFlow backend, but Keras was set up for {keras.config.backend()!r}. "
            "Set it before Python starts: export KERAS_BACKEND=tensorflow"
        )


def found(module: str) -> bool:
    """Whether a module can be imported. This does not import it."""
    return importlib.util.find_spec(module) is not None


def _missing(package: str) -> str:
    version, (first, last) = sys.version_info[:2], PYTHONS
    if not first <= version <= last:
        return (
            f"kvae needs {package}, and for Python {_dotted(version)} there is none that kvae was tested with. Use "
            f"Python {_dotted(first)} to {_dotted(last)}, for example: python{_dotted(last)} -m venv .venv"
        )
    return f"kvae needs {package}, which is not installed. Mend it with: {install()}"


def _tf_keras(minor: str) -> str:
    if not minor:  # e.g. tensorflow-cpu or a vendor's build
        return "pip install tf_keras"
    major, number = minor.split(".")
    return f'pip install "tf_keras>={minor},<{major}.{int(number) + 1}"'


def _minor(package: str) -> str:
    try:
        return ".".join(metadata.version(package).split(".")[:2])
    except metadata.PackageNotFoundError:  # e.g. tensorflow-cpu or a vendor's build
        return ""


def _dotted(version: tuple) -> str:
    return ".".join(map(str, version))

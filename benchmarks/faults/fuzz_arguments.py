"""What an argument takes, by its name and its default, and which values it must refuse."""

import inspect

_COUNTS = (
    "batch_size", "steps", "epochs", "steps_per_epoch", "validation_steps", "validation_batch_size", "chunk",
    "draws", "seed", "levels", "channels", "epoch", "n",
)  # fmt: skip
_DATA = (
    "x", "data", "train", "test", "z", "array", "codes", "factors", "x_train", "x_test", "x_validation", "mean",
    "covariance", "images", "means", "scores", "frames", "starts", "ends", "code", "validation_data",
)  # fmt: skip
_BESIDE = (
    "y", "condition", "mask", "sample_weight", "labels", "y_train", "y_test", "y_validation", "rows", "own",
    "history", "per_dimension", "exact", "betas",
)  # fmt: skip


def category(name: str, default) -> str:
    """What an argument takes: count, number, flag, text, path, array or other."""
    if name in ("path", "filepath", "base", "data_dir"):
        return "path"
    if name in (*_DATA, *_BESIDE):
        return "array"
    if name in _COUNTS:
        return "count"
    for kind, what in ((bool, "flag"), (int, "count"), (float, "number"), (str, "text")):
        if isinstance(default, kind):
            return what
    return "other"


_NO_NUMBER = {
    "complex", "text", "not finite", "boolean", "object", "container", "array of text", "data frame", "dataset",
    "sparse", "model", "part", "callback", "split", "dict", "not finite array", "path", "generator",
}  # fmt: skip
_NO_ARRAY = {
    "complex", "text", "object", "path", "array of text", "array of dates", "structured array", "complex array",
    "callback", "part", "none",
}  # fmt: skip


def must_be_refused(target: str, argument: str, parameter: inspect.Parameter, kind: str, text: str) -> bool:
    """Whether a value is certainly none of those that an argument takes; what is not certain is left alone."""
    if kind == "none" and parameter.default is None:
        return False
    if kind == "boolean" and argument in ("verbose",):
        return False
    what = category(argument, _hashable(parameter.default))
    if what in ("count", "number") and isinstance(parameter.default, (int, float)):
        if kind == "fraction" and what == "count":
            return True
        return kind in _NO_NUMBER and argument not in (
            "kernel_size",
            "verbose",
            "ridge",
            "beta",
            "capacity",
            "validation_freq",
        )
    if argument in ("x", "data", "array", "z", "x_train") and "plots." not in target and parameter.default is not None:
        missing = kind == "not finite array" and not (".impute" in target or target.startswith("data."))
        return missing or kind in _NO_ARRAY
    return False


def _hashable(default):
    return default if isinstance(default, (bool, int, float, str)) else None

"""What comes of a call of `fuzz.py`, and the table of it.

right           accepted, and all that comes out is finite (NaN only where it is documented)
ours            an error that kvae raises itself
theirs          an error of Keras, TensorFlow, NumPy or another library
bare            an error of Python inside kvae, such as "'int' object is not iterable"
not finite      accepted, and NaN or infinity comes out
taken wrongly   accepted, although it is certainly no value of its argument, such as text for a number
hang, crash     no answer in time; the process died
"""

import collections
import contextlib
import io
import linecache
import pathlib
import signal
import warnings

import fuzz_arguments
import fuzz_world
import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import kvae

OUTCOMES = ("right", "ours", "theirs", "bare", "not finite", "taken wrongly", "hang", "crash")
LIMIT = 60  # seconds for a call


# ---- one call ----


class Hang(BaseException):
    """The time is up."""


def late(*_):
    """End a call, as the handler of the alarm."""
    raise Hang


def outcome(world, targets, plan) -> tuple[str, str]:
    """What comes out of a call, and the message of its error."""
    name, changes = plan
    target = targets[name]
    texts = target.good | {argument: text for argument, (_, text) in changes.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = {argument: eval(text, dict(world.names)) for argument, text in texts.items()}
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            result = target.function(**arguments)
            used = [result] if target.use is None else [result, target.use(result)]
            bad = "" if name.startswith("data.") else not_finite(used)  # data are checked where a model uses them
    except Hang:
        return "hang", ""
    except BaseException as error:
        return whose(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if bad:
        return "not finite", bad
    parameters = target.arguments
    for argument, (kind, text) in changes.items():
        if fuzz_arguments.must_be_refused(name, argument, parameters[argument], kind, text):
            return "taken wrongly", f"{argument}: {kind}"
    return "right", ""


OURS = (ValueError, TypeError, OSError, RuntimeError, ImportError, FloatingPointError)


def whose(error: BaseException) -> tuple[str, str]:
    """Whose error it is: by the innermost frame, and by whether it was raised there or happened."""
    if fuzz_world.OWN in str(error):
        return "right", ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
    message = f"{type(error).__name__}: {' '.join(str(error).split())[:150]} ({pathlib.Path(file).name}:{line})"
    if not file.startswith(str(pathlib.Path(kvae.__file__).parent)):
        return "theirs", message
    raised = linecache.getline(file, line).lstrip().startswith("raise")
    said = raised and isinstance(error, OURS) and len(str(error).split()) >= 4
    return ("ours" if said else "bare"), message


# What may be NaN, as the docstrings say.
_DOCUMENTED = {
    "Estimate": {"standard_error", "monte_carlo_error"},
    "LogLikelihoods": {"standard_error"},
    "CalibrationByElement": {"mean_square", "standard_error", "within_one", "within_two"},
}


def not_finite(value, where: str = "result") -> str:
    """The place of the first NaN or infinity in what was returned; empty where there is none."""
    if isinstance(value, (str, bytes, type(None), bool, pathlib.Path, type)) or callable(
        getattr(value, "savefig", None)
    ):
        if hasattr(value, "savefig"):
            value.savefig(io.BytesIO(), dpi=20)
        return ""
    if hasattr(value, "_fields") and not isinstance(value, kvae.data.Support):
        may = _DOCUMENTED.get(type(value).__name__, set())
        value = {name: one for name, one in value._asdict().items() if name not in may}
    if isinstance(value, dict):
        return next((bad for name, one in value.items() if (bad := not_finite(one, f"{where}.{name}"))), "")
    if isinstance(value, (list, tuple)):
        return next((bad for one in value if (bad := not_finite(one, where))), "")
    if isinstance(value, keras.callbacks.History):
        return not_finite(value.history, where) or not_finite(value.model.get_weights(), "weights")
    if isinstance(value, keras.callbacks.Callback):
        return ""
    if isinstance(value, tfd.Distribution):
        return not_finite(value.mean(), f"{where}.mean")
    if isinstance(value, kvae.data.Split):
        return ""  # it holds what it was given; what uses it checks that
    if isinstance(value, kvae.data.Support):
        return ""
    if isinstance(value, tf.data.Dataset):
        return not_finite(list(value.take(1).as_numpy_iterator()), where)
    if isinstance(value, kvae.evaluate.Gaussian):
        return not_finite([value.mean, value.covariance], where)
    if isinstance(value, (int, float, np.generic, np.ndarray)) or tf.is_tensor(value):
        array = np.asarray(value)
        return "" if array.dtype.kind not in "fc" or np.isfinite(array).all() else where
    return ""


# ---- what is printed ----


def table(records: list[dict]) -> str:
    """Counts of the outcomes by group of targets and in total, as Markdown."""
    groups: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for record in records:
        for group in (record["target"].split(".")[0], "all"):
            groups[group][record["outcome"]] += 1
    rows = ["| | calls | " + " | ".join(OUTCOMES) + " |", "|---" * (len(OUTCOMES) + 2) + "|"]
    order = [*sorted(group for group in groups if group != "all"), "all"]
    for group in order:
        counts = [sum(groups[group].values()), *(groups[group][one] for one in OUTCOMES)]
        rows.append(f"| {group} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(rows)


def failures(records: list[dict]) -> list[str]:
    """The distinct calls that came to something else than "right" or "ours", one line each."""
    found: dict[tuple, str] = {}
    for record in records:
        if record["outcome"] in ("right", "ours"):
            continue
        changes = ", ".join(f"{name}={text}" for name, (_, text) in record["changes"].items())
        key = (record["target"], record["outcome"], record["message"] or changes)
        found.setdefault(key, f"{record['outcome']}: {record['target']}({changes}): {record['message']}")
    return sorted(found.values())

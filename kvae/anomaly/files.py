"""A detector in the file of its model."""

import numpy as np

from kvae.models.saving import check_saved, load_model, read_note, save_model
from kvae.numerics import arguments

_NOTE = "detector"


def save(path, vae, calibration, constructor: dict) -> None:
    """Write a `.keras` file with a note of the calibration and the constructor's arguments beside the model."""
    check_saved(vae, arguments.path("path", path))
    path = arguments.new_file("path", path)
    kept = calibration._asdict() | {"scores": calibration.scores.tolist(), "usual": calibration.usual.tolist()}
    save_model(vae, path, {_NOTE: {"constructor": constructor, "calibration": kept}})


def load(path) -> tuple:
    """The model, the constructor's arguments, and the calibration's fields."""
    vae = load_model(path)
    note = read_note(path).get(_NOTE)
    if not isinstance(note, dict):
        raise ValueError(f"{path} holds a model, but no detector. Read it with kvae.load_model, or calibrate one anew.")
    constructor, kept = note.get("constructor", {}), note.get("calibration", {})
    if not (_has(constructor, "score", "samples", "seed") and _has(kept, "scores", "usual", "center", "weights")):
        raise ValueError(
            f"{path} holds a detector of another form. Calibrate one anew, on kvae.load_model({str(path)!r})."
        )
    return vae, constructor, kept | {name: np.asarray(kept[name]) for name in ("scores", "usual")}


def _has(found, *names) -> bool:
    return isinstance(found, dict) and set(found) == set(names)

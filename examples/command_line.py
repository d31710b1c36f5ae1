"""What the example programs share: flags, a check before the work begins, and ends without a traceback."""

import contextlib
import inspect
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from absl import app, flags, logging

flags.disclaim_key_flags()  # what is defined here belongs to the program that asks for it: --help lists it


def start(argv, job, stopped="Stopped.") -> None:
    """Do the job: an error ends the program with its sentence and status 1, Ctrl-C with one line and status 130.

    A SIGTERM that the job turns into an exit with status 143 ends with that line too.

    Args:
        argv: what is left of the command line.
        job: a function without arguments.
        stopped: that line, or a function without arguments that returns it.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Not a flag: {argv[1]}")
    traceback = flags.FLAGS["verbosity"].present and flags.FLAGS.verbosity > 0
    logging.set_verbosity(logging.INFO if traceback else logging.WARNING)
    try:
        job()
    except (KeyboardInterrupt, SystemExit) as end:
        status = 130 if isinstance(end, KeyboardInterrupt) else end.code
        if status in (130, 128 + signal.SIGTERM):  # the state is saved then, see kvae.callbacks.Checkpoint
            print(f"\n{stopped() if callable(stopped) else stopped}", file=sys.stderr)
        sys.exit(status)
    except (ArithmeticError, ImportError, OSError, ValueError) as error:
        if traceback:
            raise
        print(f"\n{Path(argv[0]).name}: {error} (For a traceback: --verbosity=1.)", file=sys.stderr)
        sys.exit(1)


def call(argv, run) -> None:
    """`start` a function whose arguments are the flags of the same names."""
    start(argv, lambda: run(**{name: flags.FLAGS[name].value for name in inspect.signature(run).parameters}))


def check_writable(folder) -> None:
    """Raise an OSError unless the folder can be written to, or made."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"{folder} cannot be written to: {place} is a file.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written to: you may not write to {place}.")


def write_whole(path: Path, write) -> None:
    """Write a file under a temporary name, then rename it; nothing is left where that fails.

    Args:
        path: of the file; its folder is made where it is missing.
        write: a function of the open binary file.
    """
    from kvae.numerics import files

    with files.whole(Path(path)) as temporary, temporary.open("wb") as file:
        write(file)


def write_figures(folder, figures: dict, films: dict | None = None) -> None:
    """Write figures as <name>.png and films as <name>.gif, see `write_whole`."""
    from kvae.numerics import files

    for name, figure in figures.items():
        write_whole(Path(folder, f"{name}.png"), lambda file, figure=figure: figure.savefig(file, dpi=110))
    for name, film in (films or {}).items():
        with files.whole(Path(folder, f"{name}.gif")) as temporary:
            film.save(temporary, writer="pillow", dpi=60)


def kept_elsewhere(vae, error: OSError) -> OSError:
    """The error of a last save, after the model was saved to a temporary folder."""
    path = Path(tempfile.mkdtemp(prefix="kvae-"), "model.keras")
    vae.save(path)
    return OSError(f"{error} The trained model is in {path}: move it there, and give the same flags to go on.")


@contextlib.contextmanager
def alone(folder):
    """Hold the lock of a run's folder, which is made where it is missing: no other program writes to it meanwhile.

    The lock ends with the process, however that ends. A folder that was made for it and stays empty is deleted.
    """
    from kvae.numerics import files

    folder = Path(folder)
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    lock = files.lock(path, f"The run {folder}")
    try:
        yield
    finally:
        files.unlock(path, lock)
        with contextlib.suppress(OSError):  # where something was written
            for one in made:
                one.rmdir()


def write_json(path, content) -> None:
    """Write JSON to a file, see `write_whole`."""
    write_whole(Path(path), lambda file: file.write(f"{json.dumps(content, indent=1)}\n".encode()))


def sizes(name: str, words) -> tuple[int, ...] | None:
    """The whole numbers of a flag that is a list of words, or None where it is not given."""
    if words is None:
        return None
    try:
        return tuple(int(word) for word in words)
    except ValueError:
        raise app.UsageError(f"--{name} takes whole numbers, such as 64,64, got {','.join(words)}.") from None


def define_data_flags(dataset: str | None, values: flags.FlagValues = flags.FLAGS) -> None:
    """The flags of `kvae.data.load`, with this default data set."""
    default = "the run's by default" if dataset is None else "the embedded digits by default"
    flags.DEFINE_string(
        "dataset", dataset, "'digits', a folder (of images, .npy or IDX files), a .npz file with x_train and x_test, "
        f"or a name of tensorflow-datasets, such as mnist; {default}", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string("data_dir", None, "where tensorflow-datasets finds its files", flag_values=values)
    flags.DEFINE_list("size", None, "height,width that images are resized to, such as 64,64", flag_values=values)
    flags.DEFINE_enum("channels", None, ["1", "3"], "makes images grey (1) or coloured (3)", flag_values=values)
    flags.DEFINE_enum(
        "unreadable", None if dataset is None else "raise", ["raise", "skip"],
        "stops at an image that cannot be read, or leaves it out", flag_values=values,
    )  # fmt: skip


def define_evaluation_flags() -> None:
    """What evaluate.py and compare.py both ask for."""
    define_data_flags(None)
    flags.DEFINE_enum("binarize", None, ["dynamic", "static", "none"], "by default as in the run")
    flags.DEFINE_enum("part", "test", ["train", "validation", "test"], "the part of the data")
    flags.DEFINE_integer("examples", None, "how many of them, from the first on; by default all", lower_bound=1)
    flags.DEFINE_integer("importance_samples", 5000, "draws of z for each example", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "of the draws", lower_bound=0, upper_bound=2**32 - 1)
    flags.DEFINE_string("output", None, "a JSON file for the results")


def evaluation_flags() -> dict:
    """The values of those flags, as the arguments of `run`."""
    names = "dataset", "data_dir", "unreadable", "binarize", "part", "examples", "importance_samples", "seed", "output"
    values = {name: flags.FLAGS[name].value for name in names}
    channels = flags.FLAGS.channels
    return values | {"size": sizes("size", flags.FLAGS.size), "channels": channels and int(channels)}

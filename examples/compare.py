"""Compare models that `examples/train.py` wrote, or any `.keras` files of kvae, on the same data.

    python examples/compare.py --runs runs/a,runs/b,runs/c              # on the test part of the data of the first run
    python examples/compare.py --models a.keras,b.keras --dataset digits --binarize dynamic

Prints the table of each, and the differences of all others from the first with the standard errors of the
differences: on the same examples two models differ by less than the examples do. With --output it writes JSON.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
import evaluate
from absl import app, flags

FLAGS = flags.FLAGS


def run(
    runs=(), models=(), dataset=None, data_dir=None, binarize=None, part="test", examples=None,
    importance_samples=5000, seed=0, output=None, size=None, channels=None, unreadable=None,
):  # fmt: skip
    """Compare and return the `kvae.evaluate.Comparison`; the arguments are the flags."""
    if output:
        command_line.check_writable(Path(output).parent)
    import kvae

    paths = {str(run): Path(run) / "model.keras" for run in runs} | {str(path): Path(path) for path in models}
    if len(paths) < 2:
        raise ValueError(f"A comparison needs two models or more, got {list(paths)}.")
    loaded = {name: kvae.load_model(path) for name, path in paths.items()}
    first = next(iter(loaded))
    data, split = evaluate.load_part(
        loaded[first],
        runs[0] if runs else None,
        dataset,
        data_dir,
        binarize,
        part,
        examples,
        size,
        channels,
        unreadable,
    )
    found = kvae.evaluate.compare(loaded, split, samples=importance_samples, seed=seed)
    print(f"On the {len(split)} {part} examples of {data.name}:")
    for name, table in found.summaries.items():
        print(name)
        evaluate.print_table(table)
    for name, table in found.differences.items():
        print(f"{name} less {first}")
        evaluate.print_table(table)
    if output:
        content = {
            kind: {name: {row: e._asdict() for row, e in table.items()} for name, table in tables.items()}
            for kind, tables in found._asdict().items()
        }
        command_line.write_json(output, content)
    return found


def _define_flags():
    flags.DEFINE_list("runs", [], "the --output directories of examples/train.py; the first is what others differ from")
    flags.DEFINE_list("models", [], ".keras files, after the runs")
    command_line.define_evaluation_flags()


def main(argv):
    """Read the flags and run."""
    if not FLAGS.runs and not (FLAGS.models and FLAGS.dataset):
        raise app.UsageError("Give --runs, or --models and --dataset.")
    values = command_line.evaluation_flags()
    command_line.start(argv, lambda: run(FLAGS.runs, FLAGS.models, **values))


if __name__ == "__main__":
    _define_flags()
    app.run(main)

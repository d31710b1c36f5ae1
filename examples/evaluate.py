"""Evaluate a model that `examples/train.py` wrote, or any `.keras` file of kvae.

    python examples/evaluate.py --run runs/digits                    # on the test part of the data it was trained on
    python examples/evaluate.py --run runs/digits --part train --importance_samples 100
    python examples/evaluate.py --model model.keras --dataset images.npz --binarize none

Prints the ELBO and its terms, the log-likelihood by importance sampling, bits a dimension and active units, each
with its errors, and the log-likelihood of independent pixels beside them. With --output it writes them as JSON.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
from absl import app, flags

FLAGS = flags.FLAGS


def run(
    run=None, model=None, dataset=None, data_dir=None, binarize=None, part="test", examples=None,
    importance_samples=5000, seed=0, output=None, size=None, channels=None, unreadable=None,
) -> dict:  # fmt: skip
    """Evaluate and return names to `kvae.evaluate.Estimate`; the arguments are the flags."""
    if output:
        command_line.check_writable(Path(output).parent)
    import kvae

    vae = kvae.load_model(model or Path(run) / "model.keras")
    data, split = load_part(vae, run, dataset, data_dir, binarize, part, examples, size, channels, unreadable)
    results = kvae.evaluate.summary(vae, split, samples=importance_samples, seed=seed)
    results["independent_pixels"] = kvae.evaluate.independent_pixels(vae, data.train, split)
    print(f"On the {len(split)} {part} examples of {data.name}:")
    print_table(results)
    more = _more(vae, data, split, seed, new=part != "train")
    print_table(more)
    results |= more
    if part != "train":
        print(kvae.evaluate.diagnose(vae, split.first(1000), data.train.first(5000)))
    if output:
        command_line.write_json(output, {name: e._asdict() for name, e in results.items()})
    return results


def print_table(table: dict) -> None:
    """A line for each estimate."""
    for name, estimate in table.items():
        print(f"  {name:20s} {estimate}")


def _more(vae, data, split, seed: int, new: bool) -> dict:
    """What depends on the kind of model and data."""
    import numpy as np

    import kvae

    found = {}
    if not vae.prior.conditional:
        found |= kvae.evaluate.rate(vae, split, samples=4, seed=seed)
        found.pop("kl")
    if isinstance(vae.likelihood, kvae.likelihoods.Normal):
        found["calibration"] = kvae.evaluate.calibration(vae, split, seed=seed)["mean_square"]
    if new and split.y is not None and np.asarray(split.y).dtype.kind in "biu" and len(data.train) >= 15:
        found["15_neighbours"] = kvae.evaluate.knn_accuracy(vae, data.train, split)
    return found


def load_part(
    vae, run=None, dataset=None, data_dir=None, binarize=None, part="test", examples=None, size=None, channels=None,
    unreadable=None,
):  # fmt: skip
    """The data of a run, or of the flags, and the part of them to evaluate on."""
    import kvae

    trained = json.loads((Path(run) / "config.json").read_text()) if run else {}
    if binarize is None:
        binarize = trained.get("binarize", "auto")
    if binarize == "auto":
        binarize = "dynamic" if vae.likelihood.support.integer else "none"
    data = kvae.data.load(
        dataset or trained["dataset"],
        validation=trained.get("validation", 0.1),
        binarize=None if binarize == "none" else binarize,
        seed=trained.get("seed", 0),
        data_dir=data_dir or trained.get("data_dir"),
        size=size or trained.get("size"),
        channels=channels or trained.get("channels"),
        unreadable=unreadable or trained.get("unreadable", "raise"),
    )
    split = getattr(data, part)
    if split is None:
        raise ValueError(f"{data.name} has no {part} part.")
    return data, split.first(examples) if examples else split


def _define_flags():
    flags.DEFINE_string("run", None, "the --output of examples/train.py: model.keras and the flags it was trained with")
    flags.DEFINE_string("model", None, "a .keras file; by default the run's")
    command_line.define_evaluation_flags()


def main(argv):
    """Read the flags and run."""
    if not FLAGS.run and not (FLAGS.model and FLAGS.dataset):
        raise app.UsageError("Give --run, or --model and --dataset.")
    values = command_line.evaluation_flags()
    command_line.start(argv, lambda: run(FLAGS.run, FLAGS.model, **values))


if __name__ == "__main__":
    _define_flags()
    app.run(main)

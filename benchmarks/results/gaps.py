"""Where the ELBO of a trained model loses: ELBO, importance sampling, annealing, amortization, approximation.

    python benchmarks/results/gaps.py  # digits: trains three seeds, then 100 test digits each
    python benchmarks/results/gaps.py --runs RUN --data_dir DIR  # what examples/train.py left, MNIST for example

For each model, on the first 100 examples of the training and of the test part: the ELBO; log p(x) by 5,000
importance samples from q(z|x), and by 16 annealed chains of 1,000 steps from q(z|x) and from the prior; the ELBO of the
best posterior of the same family for each example; and the two gaps, with the annealed log p(x) from q(z|x). Then the
bounds from both sides on as many examples simulated by the model itself.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import sys
import time
from pathlib import Path

import keras

import kvae

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))


def digits(seed: int):
    """The digits benchmark's data, and a trained MLP."""
    data = kvae.data.load("digits", binarize="dynamic", validation=0.0, batch_size=50, seed=seed)
    keras.utils.set_random_seed(seed)
    vae = kvae.VAE(*kvae.networks.mlp(data.event_shape, 10, hidden=(200, 200)), likelihood="bernoulli", seed=seed)
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    vae.fit(data.train, epochs=150, verbose=0)
    return vae, data


def saved(run: str, data_dir: str | None):
    """The model and the data of a run of examples/train.py."""
    from evaluate import load_part  # examples/evaluate.py

    vae = kvae.load_model(Path(run) / "model.keras")
    return vae, load_part(vae, run, data_dir=data_dir)[0]


def report(name: str, vae, data, examples: int) -> None:
    for part in ("train", "test"):
        split = getattr(data, part).first(examples)
        began = time.time()
        importance = kvae.evaluate.log_likelihood(vae, split)
        seconds = [time.time() - began]
        found = kvae.evaluate.gaps(vae, split, chains=16)
        seconds.append(time.time() - began - sum(seconds))
        prior = kvae.evaluate.ais(vae, split, start="prior")
        seconds.append(time.time() - began - sum(seconds))
        log_p = found["log_likelihood"]
        cells = [
            f"{found['elbo'].mean:.2f}",
            f"{importance.mean:.2f}",
            f"{log_p.mean:.2f} ± {log_p.monte_carlo_error:.2f}",
            f"{prior.mean:.2f} ± {prior.monte_carlo_error:.2f}",
            f"{found['best_elbo'].mean:.2f}",
            *(
                f"{found[gap].mean:.2f} ± {found[gap].standard_error:.2f}"
                for gap in ("amortization_gap", "approximation_gap")
            ),
            ", ".join(f"{s:.0f}" for s in seconds),
        ]
        print(f"| {name} | {part} | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="*", default=[])
    parser.add_argument("--data_dir")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    started, models = time.time(), {}
    for run in options.runs:
        models[Path(run).name] = saved(run, options.data_dir)
    if not options.runs:
        models = {f"seed {seed}": digits(seed) for seed in range(options.seeds)}
    print(
        "| model | part | ELBO | IS 5,000 | AIS from q | AIS from p(z) | best ELBO | amortization | approximation | s |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, (vae, data) in models.items():
        report(name, vae, data, options.examples)
    print()
    print("| model | from below | from above | gap |")
    print("|---|---:|---:|---:|")
    for name, (vae, _) in models.items():
        for start in ("posterior", "prior"):
            cells = kvae.evaluate.sandwich(vae, options.examples, start=start)
            numbers = [f"{cells[key].mean:.3f}" for key in ("lower", "upper")]
            numbers.append(f"{cells['gap'].mean:.3f} ± {cells['gap'].standard_error:.3f}")
            print(f"| {name}, from the {start} | {' | '.join(numbers)} |", flush=True)
    print(f"{time.time() - started:.0f} s")


if __name__ == "__main__":
    main()

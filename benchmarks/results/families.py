"""The families side by side: the same data, networks and steps, other arguments of `kvae.VAE`.

    python benchmarks/results/families.py  # digits, three seeds
    python benchmarks/results/families.py --data mnist --seeds 1 --data_dir DIR --rows vae vamp two_layers iaf \
        --images 1000 --samples 1000 --gaps 100

Digits: 1,500 train and 297 test images, the training images binarised anew for every batch, the test images once; tanh
networks 64-100-100-10-100-100-64, the output bias at the data (`adapt`), batch 50, Adam with learning rate 1e-3 and
epsilon 1e-4, 8,000 steps. MNIST: static binarisation, tanh networks 784-200-200-50, batch 100, Adam with a learning
rate from 2e-3 to 0 on a cosine.

Prints for each row, as mean and standard deviation over the seeds: the negative log-likelihood by importance sampling,
the one-sample ELBO, the KL term, and the seconds of training. A point q(z|x) has one code, so that the first is the
negative ELBO there, a bound. The priors of codes are fitted after training, one after the other, on the same networks.
With `--gaps N` also the approximation and the amortization gap of the first N test and training images
(`kvae.evaluate.gaps`), where z is continuous; of a single seed with their standard errors over the images.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import kvae
from kvae import objectives, posteriors, priors

GAPS = ("approximation_gap", "amortization_gap")
CODES = ("uniform", "categorical", "autoregressive")


def two_layers(latents: int, posterior: Callable) -> tuple[int, dict]:
    """Two groups, 10 + 5 for the digits and 100 + 50 for MNIST (as Burda et al. 2016); the decoder sees the first."""
    groups, hidden = ((10, 5), (100,)) if latents == 10 else ((100, 50), (100, 100))
    return sum(groups), {
        "posterior": posterior(groups=groups, hidden=hidden),
        "prior": priors.Hierarchical(groups=groups, hidden=hidden),
    }


def ladder(groups, hidden):
    """A ladder, which has no networks between its groups."""
    del hidden
    return posteriors.Ladder(groups=groups)


def codes(latents: int, posterior) -> tuple[int, dict]:
    """Four codes of 64 for the digits, eight for MNIST."""
    return posterior.dim * (4 if latents == 10 else 8), {"posterior": posterior, "prior": priors.Codes("uniform")}


ROWS: dict[str, Callable[[int], tuple[int, dict[str, Any]]]] = {  # of the plain model's latents: those of this one
    "vae": lambda d: (d, {}),
    "iwae_5": lambda d: (d, {"objective": objectives.IWAE(samples=5)}),
    "iwae_50": lambda d: (d, {"objective": objectives.IWAE(samples=50)}),
    "vamp": lambda d: (d, {"prior": priors.VampPrior(100 if d == 10 else 500)}),
    "mixture": lambda d: (d, {"prior": priors.MixtureOfNormals(50)}),
    "flow_prior": lambda d: (d, {"prior": priors.Flow("coupling", layers=4)}),
    "iaf": lambda d: (d, {"posterior": posteriors.Flow("iaf", layers=2)}),
    "full": lambda d: (d, {"posterior": "full_normal"}),
    "low_rank": lambda d: (d, {"posterior": posteriors.LowRankNormal(3)}),
    "two_layers": lambda d: two_layers(d, posteriors.TopDown),
    "ladder": lambda d: two_layers(d, ladder),
    "bottom_up": lambda d: two_layers(d, posteriors.BottomUp),
    "vq": lambda d: codes(d, posteriors.VectorQuantized(64, dim=4)),
    "fsq": lambda d: codes(d, posteriors.FiniteScalar((4, 4, 4))),
}


def digits(seed: int, data_dir: str | None):
    """The training data, the test images, and the widths, latents, epochs and optimizer."""
    del data_dir
    data = kvae.data.load("digits", validation=0, binarize="dynamic", batch_size=50, seed=seed)
    test = kvae.data.load("digits", validation=0, binarize="static", seed=1).test
    return data, test, (100, 100), 10, 267, lambda steps: keras.optimizers.Adam(1e-3, epsilon=1e-4)


def mnist(seed: int, data_dir: str | None):
    """The same for MNIST."""
    data = kvae.data.load("mnist", validation=0, binarize="static", batch_size=100, seed=seed, data_dir=data_dir)

    def optimizer(steps):
        return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps))

    return data, data.test, (200, 200), 50, 30, optimizer


def run(row: str, protocol: Callable, seed: int, options) -> list[dict]:
    """Train and evaluate one seed of a row; one result, or one for each prior of codes."""
    keras.utils.set_random_seed(seed)
    data, test, hidden, latents, epochs, optimizer = protocol(seed, options.data_dir)
    epochs, test = options.epochs or epochs, test.first(options.images or len(test))
    dimensions, parts = ROWS[row](latents)
    encoder, decoder = kvae.networks.mlp(data.event_shape, dimensions, hidden=hidden, activation="tanh")
    if isinstance(parts.get("prior"), priors.Hierarchical):
        first = parts["prior"].groups[0]
        _, plain = kvae.networks.mlp(data.event_shape, first, hidden=hidden, activation="tanh")
        decoder = keras.Sequential([keras.Input((dimensions,)), kvae.networks.FirstGroup(first), plain])
    vae = kvae.VAE(encoder, decoder, likelihood="bernoulli", seed=seed, **parts)
    vae.adapt(data.train)
    vae.compile(optimizer=optimizer(epochs * -(-len(data.train) // data.train.batch_size)))
    start = time.perf_counter()
    vae.fit(data.train, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - start
    if row not in ("vq", "fsq"):
        found = {"row": row, "seconds": seconds, **evaluated(vae, test, options.samples, seed)}
        for part, split in (("test", test), ("training", data.train)) if options.gaps else ():
            gaps = kvae.evaluate.gaps(vae, split.first(options.gaps), samples=options.samples, seed=seed)
            for name in GAPS:
                found[f"{name}, {part}"], found[f"{name}, {part}, error"] = gaps[name].mean, gaps[name].standard_error
        return [found]
    results = []
    for kind in CODES:
        if kind != "uniform":
            vae.fit_prior(data.train, priors.Codes(kind))
        results.append({"row": f"{row}, {kind}", "seconds": seconds, **evaluated(vae, test, 1, seed)})
    return results


def evaluated(vae, test, samples: int, seed: int) -> dict:
    logs = vae.evaluate(test, verbose=0, return_dict=True)
    nll = -kvae.evaluate.log_likelihood(vae, test, samples=samples, seed=seed).mean
    return {"nll": nll, "elbo": logs["elbo"], "kl": logs["kl"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--data_dir")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="by default the protocol's")
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--images", type=int, help="of the test part, by default all")
    parser.add_argument("--gaps", type=int, default=0, metavar="N", help="the gaps of the first N test images, too")
    options = parser.parse_args()
    protocol = {"digits": digits, "mnist": mnist}[options.data]
    columns = {"nll": "NLL, nats", "elbo": "one-sample ELBO", "kl": "KL"}
    for part in ("test", "training") if options.gaps else ():
        columns |= {f"{name}, {part}": f"{name.replace('_', ' ')}, {part}" for name in GAPS}
    print(f"| row | {' | '.join(columns.values())} | seconds |\n|---|{'---:|' * (len(columns) + 1)}", flush=True)
    for row in options.rows:
        by_seed = [run(row, protocol, seed, options) for seed in range(options.seeds)]
        for found in zip(*by_seed, strict=True):
            cells = [found[0]["row"]]
            for name in columns:
                values = np.array([one.get(name, np.nan) for one in found])
                error = values.std(ddof=1) if len(values) > 1 else found[0].get(f"{name}, error")
                cells.append(f"{values.mean():.3f}" + ("" if error is None else f" ± {error:.3f}"))
            cells.append(f"{np.mean([one['seconds'] for one in found]):.0f}")
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

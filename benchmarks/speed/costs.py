"""What kvae's own choices cost, and how the cost grows with batch, samples, latents and data.

    python benchmarks/speed/costs.py  # about twenty minutes and 8 GB; writes its part of docs/performance.md
    python benchmarks/speed/costs.py --keep     # prints only
    python benchmarks/speed/costs.py --choices  # prints the prices alone

MLP 784-400-20-400-784, batch 128, generated binary images, arrays into `fit`, models taking turns in one process.
Ratios are medians over the rounds. Growth with the number of images goes from 2,000 to 2,000,000, for this network and
for a small one (64-128-10, batch 100), whose epochs of 2,000 images last a few milliseconds; the memory of a stream is
measured on images read from a file by `tf.data`.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

import kvae

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "peers")]

from common import PIXELS, images
from speed import replace_section

IMAGES = 12_800
SIZES = (2_000, 20_000, 200_000, 2_000_000)


def model(
    latents=20, likelihood="bernoulli", posterior="diagonal_normal", prior="standard_normal", objective=None, **elbo
) -> kvae.VAE:
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp((PIXELS,), latents, hidden=(400,))
    objective = objective or kvae.objectives.ELBO(**elbo)
    vae = kvae.VAE(*networks, likelihood=likelihood, posterior=posterior, prior=prior, objective=objective)
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    return vae


def small(**arguments) -> kvae.VAE:
    """A model of 64 pixels, 64-128-10; the arguments are `compile`'s."""
    vae = kvae.VAE(*kvae.networks.mlp((64,), 10, hidden=(128,)), likelihood="bernoulli")
    vae.compile(optimizer=keras.optimizers.Adam(1e-3), **arguments)
    return vae


def fit(vae, x, batch=128, epochs=2):
    def run():
        vae.fit(x, batch_size=batch, epochs=epochs, verbose=0)

    return run


def in_turns(programs: dict, rounds: int, before: int = 2) -> dict[str, list[float]]:
    """Seconds of each program in every round, after some runs that compile and learn the pace."""
    for program in programs.values():
        for _ in range(before):
            program()
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            start = time.perf_counter()
            program()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds, name, base) -> str:
    ratios = [a / b for a, b in zip(seconds[name], seconds[base], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return f"| {name} | {base} | {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}) |"


def choices(rounds: int) -> str:
    """The price of a likelihood, a KL form, a posterior and an objective."""
    x = images(IMAGES)
    objectives, likelihoods, posteriors, priors = kvae.objectives, kvae.likelihoods, kvae.posteriors, kvae.priors
    half, groups = PIXELS // 2, (10, 10)
    pairs = [
        ("continuous Bernoulli", {"likelihood": "continuous_bernoulli"}, "Bernoulli", {}),
        ("normal, optimal scale", {"likelihood": "normal"}, "Bernoulli", {}),
        ("BetaBinomial(255)", {"likelihood": "beta_binomial"}, "Bernoulli", {}),
        ("DiscretizedLogistic(256)", {"likelihood": "discretized_logistic"}, "Bernoulli", {}),
        ("negative binomial", {"likelihood": "negative_binomial"}, "Bernoulli", {}),
        ("Student t", {"likelihood": "student_t"}, "Bernoulli", {}),
        (
            "Joint of two halves",
            {
                "likelihood": likelihoods.Joint(
                    {
                        "a": (range(half), likelihoods.Bernoulli()),
                        "b": (range(half, PIXELS), likelihoods.Bernoulli()),
                    }
                )
            },
            "Bernoulli",
            {},
        ),
        ("LowRankNormal(5)", {"posterior": posteriors.LowRankNormal(5)}, "diagonal", {}),
        ("inverse autoregressive flow", {"posterior": posteriors.Flow("iaf")}, "diagonal", {}),
        ("coupling flow, splines", {"posterior": posteriors.Flow("coupling", transform="spline")}, "diagonal", {}),
        ("MixtureOfNormals(50)", {"prior": priors.MixtureOfNormals(50)}, "standard normal", {}),
        ("VampPrior(500)", {"prior": priors.VampPrior(500)}, "standard normal", {}),
        ("flow prior", {"prior": priors.Flow("coupling")}, "standard normal", {}),
        *(
            (
                f"{make.__name__}, two groups",
                {"posterior": make(groups=groups), "prior": priors.Hierarchical(groups=groups)},
                "one group",
                {},
            )
            for make in (posteriors.TopDown, posteriors.Ladder, posteriors.BottomUp)
        ),
        ("FiniteScalar", {"posterior": posteriors.FiniteScalar((8, 5, 5, 5)), "prior": "codes"}, "diagonal", {}),
        ("VectorQuantized(512)", {"posterior": posteriors.VectorQuantized(512, 4), "prior": "codes"}, "diagonal", {}),
        ("Monte-Carlo KL", {"kl": "monte_carlo"}, "analytic KL", {"kl": "analytic"}),
        ("full covariance, 20 latents", {"posterior": "full_normal"}, "diagonal", {}),
        ("total correlation", {"objective": objectives.TotalCorrelation(dataset_size=IMAGES)}, "ELBO", {}),
        ("MMD", {"objective": objectives.MMD()}, "ELBO", {}),
        ("IWAE, 50 samples", {"objective": objectives.IWAE(50)}, "ELBO, 50 samples", {"samples": 50}),
        (
            "doubly reparameterized, 50 samples",
            {"objective": objectives.IWAE(50, "doubly_reparameterized")},
            "IWAE, 50 samples",
            {"objective": objectives.IWAE(50)},
        ),
    ]
    lines = ["| choice | over | time ratio, median (quartiles) |", "|---|---|---:|"]
    for name, parts, base, base_parts in pairs:
        some = x[:1280] if "50 samples" in name else x
        programs = {base: fit(model(**base_parts), some), name: fit(model(**parts), some)}
        lines.append(ratio(in_turns(programs, rounds), name, base))
        print(lines[-1], flush=True)
        keras.backend.clear_session()
    return "\n".join(lines)


def growth(rounds: int) -> dict[str, tuple[list, list[float]]]:
    """Seconds for an image, by batch, samples and latents; seconds of an epoch by the number of images."""
    x = images(IMAGES)
    found = {}
    axes = {
        "batch size": [(n, fit(model(), x, n)) for n in (16, 32, 64, 128, 256, 512, 1024)],
        "samples": [(n, fit(model(samples=n), x[:2560])) for n in (1, 2, 5, 10, 20)],
        "latents": [(n, fit(model(latents=n), x)) for n in (2, 10, 20, 50, 100, 200)],
        "full covariance, latents": [
            (n, fit(model(latents=n, posterior="full_normal"), x[:2560])) for n in (2, 10, 20, 50)
        ],
    }
    for name, cases in axes.items():
        seconds = in_turns({str(n): program for n, program in cases}, rounds)
        used = len(x) if name in ("batch size", "latents") else 2560
        found[name] = [n for n, _ in cases], [statistics.median(s) / 2 / used for s in seconds.values()]
        print(name, found[name], flush=True)
    return found


def random_images(n: int, pixels: int) -> np.ndarray:
    """Binary images, uint8: two million of 64 pixels take 128 MB, of 784 pixels 1.6 GB."""
    return np.random.default_rng(0).integers(0, 2, (n, pixels), dtype=np.uint8)


def data_sizes(vae, pixels: int, batch: int, rounds: int) -> tuple[list[float], float]:
    """Seconds of an epoch by the number of images, medians of the rounds, and the exponent of the growth."""
    x = random_images(SIZES[-1], pixels)
    epochs = [max(1, 200_000 // n) for n in SIZES]
    programs = {str(n): fit(vae, x[:n], batch, e) for n, e in zip(SIZES, epochs, strict=True)}
    in_turns({"compile": programs[str(SIZES[0])]}, rounds=0)
    seconds = in_turns(programs, rounds, before=0)
    medians = [statistics.median(s) / e for s, e in zip(seconds.values(), epochs, strict=True)]
    return medians, float(np.polyfit(np.log(SIZES), np.log(medians), 1)[0])


def growth_of_data(rounds: int) -> tuple[str, list[float]]:
    """The table of both networks, and the seconds of the large one."""
    large, exponent = data_sizes(model(), PIXELS, 128, rounds)
    little, of_small = data_sizes(small(), 64, 100, rounds)
    lines = ["| images | seconds an epoch, 784 pixels | images/s | seconds an epoch, 64 pixels | images/s |"]
    lines.append("|---:|---:|---:|---:|---:|")
    for n, a, b in zip(SIZES, large, little, strict=True):
        lines.append(f"| {n:,} | {a:.4f} | {n / a:,.0f} | {b:.4f} | {n / b:,.0f} |")
    lines += ["", f"Exponent of the growth: {exponent:.3f} for 784 pixels, {of_small:.3f} for 64."]
    return "\n".join(lines), large


def resident() -> float:
    """Megabytes that the process holds now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def streaming() -> str:
    """The memory of training on a file that is read as it goes: two million images, then again."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "images.bin"
        random_images(2_000_000, 64).tofile(path)
        decode = lambda rows: tf.reshape(tf.io.decode_raw(rows, tf.uint8), [-1, 64])  # noqa: E731
        data = tf.data.FixedLengthRecordDataset([str(path)], 64).batch(500, drop_remainder=True).map(decode).prefetch(2)
        vae = small(steps_per_execution=50)
        vae.fit(data.take(400), verbose=0)
        memory = [resident()]
        for _ in range(3):
            vae.fit(data, epochs=1, verbose=0)
            memory.append(resident())
    return f"after a warm-up {memory[0]:,.0f} MB; after one, two and three passes " + ", ".join(
        f"{m:,.0f}" for m in memory[1:]
    )


def picture(found, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(4 * len(found), 3.2), layout="constrained")
    for axis, (name, (sizes, seconds)) in zip(axes, found.items(), strict=True):
        axis.loglog(sizes, seconds, "o-")
        axis.set_xlabel(name)
        axis.set_ylabel("seconds an epoch" if name == "images" else "seconds an image")
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=70)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", action="store_true", help="leave docs/ as it is")
    parser.add_argument("--choices", action="store_true", help="the prices of the choices alone")
    options = parser.parse_args()
    if options.choices:
        choices(options.rounds)
        return
    stream = streaming()
    print(stream, flush=True)
    prices = choices(options.rounds)
    table, seconds = growth_of_data(3)
    print(table, flush=True)
    found = growth(3) | {"images": (SIZES, seconds)}
    text = (
        f"{prices}\n\n{table}\n\nMemory of the process while `fit` streams two million images from a file: {stream} MB."
    )
    print(text)
    if not options.keep:
        docs = HERE.parents[1] / "docs"
        picture(found, docs / "images" / "growth.png")
        replace_section(docs / "performance.md", "costs", text)


if __name__ == "__main__":
    main()

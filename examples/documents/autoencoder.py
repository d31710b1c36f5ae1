"""The classical autoencoder beside the VAE, PCA beside the linear VAE, and what draws from the prior are worth.

    python examples/documents/autoencoder.py  # three seeds; with --seeds 1 some 80 s

On the embedded digits. Reconstruction and generation: binarised, MLP 64-200-200, 10 latents, 150 epochs, batch 50, Adam
1e-3. The reconstruction is log p(x|z), z the code (autoencoder) or drawn from q(z|x) (VAE). What each
is worth as a generator is log 1/K sum_k p(x|z_k) with K = 20,000 draws from N(0, I). The standard normal is no prior
for the autoencoder's codes. So beside it stands the same with a normal fitted to the codes of the training digits.

Moves: the distance of decoded means after a move in z, in units of the codes' own spread; and log p(x), by another VAE,
of draws halfway between two test digits, and as far again beyond the second, on the line between their codes.

Subspaces: grey digits, 10 latents, linear networks, full batch, Adam from 1e-2 on a cosine. Draws from the prior: the
closed form of probabilistic PCA on the grey digits, and the effective share of draws that was measured.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import command_line
import numpy as np
from absl import app, flags

DRAWS = 20_000


def trained(data, seed: int, epochs: int, autoencoder=False):
    """A VAE of the binarised digits, or an autoencoder with the same networks."""
    import keras

    import kvae

    keras.utils.set_random_seed(seed)
    parts = {"posterior": "deterministic", "objective": kvae.objectives.ELBO(beta=0)} if autoencoder else {}
    networks = kvae.networks.mlp(data.event_shape, 10, hidden=(200, 200))
    vae = kvae.VAE(*networks, likelihood="bernoulli", seed=seed, **parts)
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    vae.fit(data.train, epochs=epochs, verbose=0)
    return vae


def codes_of(model, x) -> np.ndarray:
    """The means of q(z|x), or the codes of an autoencoder, float64 `[N, D]`."""
    return model.encode(x).mean().numpy().astype(np.float64)


def generation(vae, x, z) -> float:
    """The mean over x of log 1/K sum_k p(x|z_k), nats."""
    p = vae.decode(z.astype(np.float32))
    logits = p.distribution.logits.numpy().reshape(len(z), -1).astype(np.float64)
    log_px_z = x.reshape(len(x), -1) @ logits.T - np.logaddexp(0.0, logits).sum(axis=1)  # [N, K]
    return float((np.logaddexp.reduce(log_px_z, axis=1) - np.log(len(z))).mean())


def compared(model, data, seed: int, draws: int) -> dict[str, float]:
    """Reconstruction of the training and the test digits, and generation, from N(0, I) and from a fitted normal."""
    z = np.random.default_rng(seed).normal(size=(draws, 10))
    codes = codes_of(model, data.train)
    fitted = codes.mean(axis=0) + z @ np.linalg.cholesky(np.cov(codes.T)).T
    return {
        "training": float(model.terms(data.train.x, samples=20).log_px_z.numpy().mean()),
        "reconstruction": float(model.terms(data.test.x, samples=20).log_px_z.numpy().mean()),
        "from N(0, I)": generation(model, data.test.x, z),
        "from a fitted normal": generation(model, data.test.x, fitted),
    }


def moved(model, x, steps) -> list[float]:
    """The mean distance of decoded means after moves of these lengths in random directions.

    A length of 1 is the root-mean-square distance of the codes from their mean.
    """
    z = codes_of(model, x)
    direction = np.random.default_rng(0).normal(size=z.shape)
    direction *= np.sqrt(np.square(z - z.mean(axis=0)).sum(axis=1).mean()) / np.linalg.norm(direction, axis=1)[:, None]
    images = [model.decode((z + step * direction).astype(np.float32)).mean().numpy() for step in (0.0, *steps)]
    return [float(np.linalg.norm((image - images[0]).reshape(len(z), -1), axis=1).mean()) for image in images[1:]]


def on_the_way(model, x, others, t: float) -> np.ndarray:
    """Means at the point t of the line from the codes of x (0) to those of others (1)."""
    return (
        model.decode(((1.0 - t) * codes_of(model, x) + t * codes_of(model, others)).astype(np.float32)).mean().numpy()
    )


def judged(judge, means, draws: int) -> float:
    """The mean of log p(x) by another model for draws x of these means, nats."""
    import kvae

    x = (np.random.default_rng(0).random(means.shape) < means).astype(np.float32)
    return kvae.evaluate.log_likelihood(judge, x, samples=draws).mean


def principal(x, q: int):
    """Probabilistic PCA (Tipping, Bishop 1999): mean, W `[D, q]`, noise variance, and log p(x) per example."""
    mean, d = x.mean(axis=0), x.shape[1]
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    s2 = values[q:].mean()
    log_p = -0.5 * (np.log(values[:q]).sum() + (d - q) * math.log(s2) + d * math.log(2 * math.pi) + d)
    return mean, vectors[:, :q] * np.sqrt(values[:q] - s2), s2, log_p


def log_density(x, mean, covariance) -> np.ndarray:
    """log N(x; mean, covariance) for each x."""
    centred = x - mean
    square = np.einsum("ni,ni->n", centred, np.linalg.solve(covariance, centred.T).T)
    return -0.5 * (square + np.linalg.slogdet(covariance)[1] + x.shape[1] * math.log(2 * math.pi))


def linear(x, kind: str, steps: int, q: int = 10):
    """The decoder's W `[D, q]`, its mean and s^2, of a linear model that was trained by `kind` of q(z|x)."""
    import keras

    import kvae

    keras.utils.set_random_seed(0)
    objective = kvae.objectives.ELBO(beta=0) if kind == "deterministic" else "elbo"
    likelihood = kvae.likelihoods.Normal(1.0 if kind == "deterministic" else "learned")
    networks = kvae.networks.mlp((x.shape[1],), q, hidden=())
    vae = kvae.VAE(*networks, kind, likelihood, objective=objective)
    vae.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, steps, alpha=1e-3)))
    vae.fit(x.astype(np.float32), batch_size=len(x), epochs=steps, verbose=0)
    kernel, bias = (weight.astype(np.float64) for weight in vae.likelihood.projection.get_weights())
    return kernel.T, bias, float(vae.decode(np.zeros((1, q), np.float32)).variance()[0, 0])


def angle(a, b) -> float:
    """The largest angle between two subspaces, in degrees."""
    a, b = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    return float(np.degrees(np.arccos(np.clip(np.linalg.svd(a.T @ b)[1].min(), -1.0, 1.0))))


def slant(w) -> float:
    """The largest cosine of an angle between two columns, 0 where all are orthogonal."""
    w = w / np.linalg.norm(w, axis=0)
    return float(np.abs(w.T @ w - np.eye(w.shape[1])).max())


def diagonal_gap(w, s2) -> float:
    """What the best diagonal q(z|x) loses, nats: its KL divergence from N(., s^2 M^-1), M = W^T W + s^2 I."""
    m = w.T @ w + s2 * np.eye(w.shape[1])
    return float(0.5 * (np.log(np.diag(m)).sum() - np.linalg.slogdet(m)[1]))


def subspaces(x, steps: int) -> list[dict]:
    """For PCA and each linear model: angle to PCA's subspace, slant of the columns, log p, what a diagonal q loses.

    The last row is PCA's W with its latents turned by a rotation: another W, the same model of x.
    """
    mean, w, s2, _ = principal(x, 10)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(10, 10)))[0]
    found = {"probabilistic PCA": (w, mean, s2)}
    for name, kind in (("linear VAE, diagonal q", "diagonal_normal"), ("linear VAE, full q", "full_normal")):
        found[name] = linear(x, kind, steps)
    found["linear autoencoder"] = linear(x, "deterministic", steps)
    found["PCA, latents turned"] = (w @ rotation, mean, s2)
    rows = []
    for name, (columns, center, variance) in found.items():
        row = {"model": name, "angle": angle(w, columns), "slant": slant(columns)}
        if name != "linear autoencoder":  # which has no density
            covariance = columns @ columns.T + variance * np.eye(len(columns))
            row["log_p"] = float(log_density(x, center, covariance).mean())
            row["loss"] = diagonal_gap(columns, variance)
        rows.append(row)
    return rows


def shares(x, q: int, draws: int, some: int = 100) -> tuple[float, float, float]:
    """Of probabilistic PCA with q latents, means over some x: KL(p(z|x) || p(z)), log draws worth one, measured.

    Of K draws from p(z) the effective number is (sum_k w_k)^2 / sum_k w_k^2 with w = p(x|z). As a share of K it tends
    to p(x)^2 / E p(x|z)^2, which is known: the square of a normal density is one of half the variance, not normalised.
    """
    mean, w, s2, _ = principal(x, q)
    x, d, precision = x[:some] - mean, x.shape[1], w.T @ w / s2 + np.eye(q)
    log_p = log_density(x, 0.0, w @ w.T + s2 * np.eye(d))
    square = log_density(x, 0.0, w @ w.T + 0.5 * s2 * np.eye(d)) - 0.5 * d * math.log(4.0 * math.pi * s2)
    center = np.linalg.solve(precision, w.T @ x.T / s2)
    spread = np.trace(np.linalg.inv(precision)) - q + np.linalg.slogdet(precision)[1]
    kl = 0.5 * (np.square(center).sum(axis=0) + spread)
    moved_by = np.random.default_rng(1).normal(size=(draws, q)) @ w.T
    log_w = (x @ moved_by.T - 0.5 * np.square(moved_by).sum(axis=1)) / s2  # without what is the same for all draws
    weight = np.exp(log_w - log_w.max(axis=1, keepdims=True))
    share = np.square(weight.sum(axis=1)) / np.square(weight).sum(axis=1) / draws
    return float(kl.mean()), float((square - 2.0 * log_p).mean()), float(-np.log(share).mean())


def figures_of(models, x, rows, draws: int) -> dict:
    """Lines between codes in both models, and the draws from the prior that one is worth."""
    from kvae import plots
    from kvae.plots.figures import new_figure

    found = {}
    for name, model in models.items():
        codes = codes_of(model, x[:16])
        found[name] = plots.interpolations(model, codes[:8], codes[8:], ink=True)
    found["prior_draws"] = figure = new_figure(5, 3.2)
    axes = figure.add_subplot()
    latents, kl, exact, measured = zip(*rows, strict=True)
    axes.semilogy(latents, np.exp(exact), label="closed form")
    axes.semilogy(latents, np.exp(measured), "o", label=f"{draws:,} draws")
    axes.semilogy(latents, np.exp(kl), ":", label="exp KL(p(z|x) || p(z))")
    axes.set(xlabel="latent dimensions", title="draws from the prior that are worth one")
    axes.legend()
    return found


def run(seeds=3, epochs=150, steps=3000, draws=DRAWS, output="runs/documents/autoencoder") -> dict:
    """Train, measure, print and draw; return the numbers. The arguments are the flags."""
    command_line.check_writable(output)
    from sklearn.datasets import load_digits

    import kvae

    data = kvae.data.load("digits", validation=0, binarize="dynamic", batch_size=50)
    half = len(data.test.x) // 2
    x, first, second = data.test.x, data.test.x[:half], data.test.x[half : 2 * half]
    found: dict = {"generation": [], "moves": {}, "lines": {}}
    print("| seed | model | reconstruction: training | test | generation from N(0, I) | from a fitted normal |")
    print("|---:|---|---:|---:|---:|---:|")
    models = {}
    for seed in range(seeds):
        for name in ("autoencoder", "VAE"):
            model = trained(data, seed, epochs, name == "autoencoder")
            models.setdefault(name, model)
            values = compared(model, data, seed, draws)
            found["generation"].append({"seed": seed, "model": name} | values)
            print(f"| {seed} | {name} | {' | '.join(f'{v:.2f}' for v in values.values())} |", flush=True)

    lengths = (0.001, 0.01, 0.1, 1.0)
    print(f"\n| model | {' | '.join(f'move of {length:g}' for length in lengths)} |\n|---|{'---:|' * len(lengths)}")
    for name, model in models.items():
        found["moves"][name] = moved(model, x, lengths)
        print(f"| {name} | {' | '.join(f'{v:.4f}' for v in found['moves'][name])} |", flush=True)

    judge, grey = trained(data, seeds, epochs), kvae.data.load("digits", validation=0).test.x
    pixels = {t: np.clip((1.0 - t) * grey[:half] + t * grey[half : 2 * half], 0.0, 1.0) for t in (0.5, 2.0)}
    found["test"] = judged(judge, x, 1000)
    print(f"\nlog p(x) of the test digits by the judge: {found['test']:.2f} nats\n")
    print("| on a line between | halfway | as far beyond |\n|---|---:|---:|")
    for name, means in (
        *((f"codes, {name}", {t: on_the_way(m, first, second, t) for t in pixels}) for name, m in models.items()),
        ("pixels", pixels),
    ):
        found["lines"][name] = [judged(judge, means[t], 1000) for t in pixels]
        print(f"| {name} | {' | '.join(f'{v:.2f}' for v in found['lines'][name])} |", flush=True)

    grey = load_digits().data / 16.0
    found["subspaces"] = subspaces(grey, steps)
    print("\n| model | angle to PCA, degrees | largest cosine of columns | log p(x) | loss of a diagonal q |")
    print("|---|---:|---:|---:|---:|")
    for row in found["subspaces"]:
        density = [f"{row[key]:.3f}" if key in row else "" for key in ("log_p", "loss")]
        print(f"| {row['model']} | {row['angle']:.2f} | {row['slant']:.3f} | {' | '.join(density)} |")

    found["shares"] = [(q, *shares(grey, q, draws)) for q in (1, 2, 5, 10, 20)]
    print("\n| latents | KL(p(z|x) || p(z)), nats | log draws worth one | measured |\n|---:|---:|---:|---:|")
    for row in found["shares"]:
        print(f"| {row[0]} | {' | '.join(f'{v:.2f}' for v in row[1:])} |")
    for name, figure in figures_of(models, x, found["shares"], draws).items():
        path = Path(output) / f"{name.lower()}.png"
        command_line.write_whole(path, lambda file, figure=figure: figure.savefig(file, dpi=110))
    print(f"Wrote figures to {output}.")
    return found


def _define_flags():
    flags.DEFINE_integer("seeds", 3, "how many", lower_bound=1)
    flags.DEFINE_integer("epochs", 150, "passes over the binarised digits", lower_bound=1)
    flags.DEFINE_integer("steps", 3000, "of the linear models, each on all digits", lower_bound=1)
    flags.DEFINE_integer("draws", DRAWS, "from the prior", lower_bound=100)
    flags.DEFINE_string("output", "runs/documents/autoencoder", "the folder of the figures")


def main(argv):
    """Read the flags and run."""
    command_line.call(argv, run)


if __name__ == "__main__":
    _define_flags()
    app.run(main)

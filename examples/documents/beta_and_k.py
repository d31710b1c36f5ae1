"""What beta and k do, and what beta meant: six experiments of an article, predicted from the data's eigenvalues.

    python examples/documents/beta_and_k.py  # the embedded digits, five minutes of processor time
    python examples/documents/beta_and_k.py --dataset mnist --data_dir DIR --steps 1500
    python examples/documents/beta_and_k.py --dataset cifar10.npz --steps 1500 --batch_size 1000

"Fundamental Generative AI Part 1: Variational Autoencoders" shows images for six pairs of beta, the weight of the KL
term, and k, the number of latents, and concludes that beta = 1 makes all images alike. It does not say how the loss is
reduced. Its images fit a mean over the pixels and a mean over the latents,

    loss = 1/D sum_j (x_j - m_j)^2 + beta/k sum_i KL_i.

Times D this is a sum of squares, the normal likelihood with s^2 = 1/2, and the KL term with the weight beta D / k. Of a
linear model of weight b and noise s^2 the optimum is known: latent i is active where the data's eigenvalue l_i is above
b s^2, here beta D / (2 k), and the image varies along it by the share (1 - b s^2 / l_i)^2 (docs/theory.md). That is the
prediction. Beside it stand a linear model and an MLP, trained under this convention ("means") and with sums ("sums"),
where the weight is beta itself. The models see the images less their mean: far from 0 the weights of a linear model
converge slowly. The MLP has tanh. Grey images take the four pairs that the article has for MNIST, images in colour
those for CIFAR-10, the embedded digits all six.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import math
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import command_line
import numpy as np
from absl import app, flags

FLAGS = flags.FLAGS
ARTICLE = (
    ("MNIST", 2.5e-2, 16), ("MNIST", 2.5e-6, 16), ("MNIST", 2.5e-2, 3), ("MNIST", 1.0, 16),
    ("CIFAR-10", 1e-4, 16), ("CIFAR-10", 0.5, 16),
)  # fmt: skip
CONVENTIONS = "means", "sums"
S2, ACTIVE = 0.5, 0.01  # of a sum of squares; the variance of a mean of q(z_i|x) above which z_i is active


class Prediction(NamedTuple):
    """Of the linear model: the weight of sums, the threshold b s^2, active latents, KL in nats, share of variance."""

    weight: float
    threshold: float
    active: int
    kl: float
    spread: float


def eigenvalues(x) -> np.ndarray:
    """Of the covariance of images, the largest first."""
    x = x.reshape(len(x), -1).astype(np.float64)
    return np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]


def predicted(values, beta: float, k: int, convention: str) -> Prediction:
    """The optimum for data with these eigenvalues."""
    weight = beta * len(values) / k if convention == "means" else beta
    threshold = weight * S2
    live = values[:k][values[:k] > threshold]
    kept = 1.0 - threshold / live  # the variance of the mean of q(z_i|x)
    spread = float((live * kept**2).sum() / values.sum())
    kl = float(0.5 * np.log(live / threshold).sum())
    return Prediction(weight, threshold, int((kept > ACTIVE).sum()), kl, spread)


def trained(train, k: int, weight: float, hidden: tuple[int, ...], steps: int, seed: int):
    """A VAE with squared errors, s^2 = 1/2, and a KL term of this weight; without hidden layers it is linear."""
    import keras

    import kvae

    keras.utils.set_random_seed(seed)
    vae = kvae.VAE(
        *kvae.networks.mlp(train.event_shape, k, hidden=hidden, activation="tanh"),
        likelihood=kvae.likelihoods.Normal(math.sqrt(S2)),
        objective=kvae.objectives.ELBO(beta=weight),
        seed=seed,
    )
    vae.adapt(train)
    rate = keras.optimizers.schedules.CosineDecay(2e-3 if hidden else 1e-2, steps, alpha=1e-3)
    vae.compile(keras.optimizers.Adam(rate))
    vae.fit(train, epochs=math.ceil(steps * train.batch_size / len(train)), verbose=0)
    return vae


def measured(vae, train, test) -> dict:
    """Active units, KL, squared error of a test image, spread of the test images, and the accuracy of the codes."""
    import kvae

    some = train.first(10_000)
    images, x = vae.reconstruct(test.x).numpy(), test.x
    return {
        "active": int(kvae.evaluate.summary(vae, some, samples=1)["active_units"].mean),
        "kl": vae.evaluate(some, verbose=0, return_dict=True)["kl"],
        "error": float(np.square(x - images).reshape(len(x), -1).sum(axis=1).mean()),
        "spread": float(images.var(axis=0).sum() / x.var(axis=0).sum()),
        "neighbours": kvae.evaluate.knn_accuracy(vae, some, test.first(1000)).mean,
    }


def pictures(models, x, mean, beta: float, k: int):
    """Test images; then for each convention their reconstructions, at a draw of z as in the article, and samples."""
    from kvae import plots

    rows = [x[:10]]
    for vae in models.values():
        rows += [vae.decode(vae.terms(x[:10]).z[0]).mean().numpy(), vae.sample(10, seed=0).numpy()]
    below = ", ".join(f"{name}: reconstructions, samples" for name in models)
    title = f"beta = {beta:g}, k = {k}. Inputs; {below}"
    return plots.grid(np.clip(np.concatenate(rows) + mean, 0.0, 1.0), 10, title, 0.0, 1.0, ink=x.shape[-1] == 1)


def spectrum(values, pairs):
    """The eigenvalues, and for each pair of beta and k the threshold up to the k-th of them."""
    from kvae.plots.figures import new_figure

    figure = new_figure(9, 3.6)
    for place, convention in enumerate(CONVENTIONS, start=1):
        axes = figure.add_subplot(1, 2, place)
        most = max(k for _, k in pairs)
        axes.semilogy(range(1, most + 1), values[:most], "k.", label="eigenvalues")
        for beta, k in pairs:
            threshold = predicted(values, beta, k, convention).threshold
            axes.semilogy([0.5, k + 0.5], [threshold] * 2, label=f"beta = {beta:g}, k = {k}")
        axes.set(xlabel="latent", title=f"{convention}: active where the dot is above the line")
        axes.legend(fontsize="x-small")
    return figure


def run(
    dataset="digits", data_dir=None, hidden=(200,), steps=6000, batch_size=200, seed=0,
    output="runs/documents/beta_and_k",
) -> list[dict]:  # fmt: skip
    """Predict, train, print and draw; return a row for each pair, convention and network. Arguments are the flags."""
    command_line.check_writable(output)
    import kvae

    data = kvae.data.load(dataset, validation=0, batch_size=batch_size, data_dir=data_dir)
    mean, colour = data.train.x.mean(axis=0), data.event_shape[-1] == 3
    train, test = (split.replace(array=split.x - mean, scale=1.0) for split in (data.train, data.test))
    values = eigenvalues(train.x)
    of = "CIFAR-10" if colour else "MNIST"
    pairs = [(beta, k) for name, beta, k in ARTICLE if dataset == "digits" or name == of]
    figures = {"eigenvalues": spectrum(values, pairs)}
    largest = ", ".join(f"{value:.4g}" for value in values[:4])
    print(f"{data}\neigenvalues {largest}, ...; their sum {values.sum():.4g}\n\nWhat beta meant:\n")
    print("| beta | k | convention | weight of sums | threshold | noise a pixel, plain ELBO | active | KL | spread |")
    print("|---:|---:|---|---:|---:|---:|---:|---:|---:|")
    for beta, k in pairs:
        for convention in CONVENTIONS:
            p = predicted(values, beta, k, convention)
            cells = [f"{value:.3g}" for value in (p.weight, p.threshold, math.sqrt(p.threshold))]
            cells += [str(p.active), f"{p.kl:.2f}", f"{p.spread:.3f}"]
            print(f"| {beta:g} | {k} | {convention} | {' | '.join(cells)} |")
    print("\nWhat was measured:\n")
    print("| beta | k | convention | network | active, predicted | active | KL | squared error | spread | 15-NN |")
    print("|---:|---:|---|---|---:|---:|---:|---:|---:|---:|", flush=True)
    rows = []
    for beta, k in pairs:
        drawn = {}
        for convention in CONVENTIONS:
            p = predicted(values, beta, k, convention)
            for network, sizes in (("linear", ()), ("MLP", hidden)):
                vae = drawn[convention] = trained(train, k, p.weight, sizes, steps, seed)
                row = {"beta": beta, "k": k, "convention": convention, "network": network, "predicted": p}
                rows.append(row | measured(vae, train, test))
                active, kl, error, spread, near = list(rows[-1].values())[5:]
                cells = f"{p.active} | {active} | {kl:.2f} | {error:.2f} | {spread:.3f} | {near:.1%}"
                print(f"| {beta:g} | {k} | {convention} | {network} | {cells} |", flush=True)
        figures[f"beta_{beta:g}_k_{k}"] = pictures(drawn, test.x, mean, beta, k)
    for name, figure in figures.items():
        path = Path(output) / f"{name}.png"
        command_line.write_whole(path, lambda file, figure=figure: figure.savefig(file, dpi=110))
    print(f"Wrote figures to {output}.")
    return rows


def _define_flags():
    flags.DEFINE_string("dataset", "digits", "'digits', a .npz file with x_train and x_test, or 'mnist'")
    flags.DEFINE_string("data_dir", None, "where tensorflow-datasets finds its files")
    flags.DEFINE_list("hidden", ["200"], "sizes of the hidden layers of the MLP")
    flags.DEFINE_integer("steps", 6000, "of training, for each model", lower_bound=1)
    flags.DEFINE_integer("batch_size", 200, "images in a step", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "of the weights and the noise", lower_bound=0, upper_bound=2**32 - 1)
    flags.DEFINE_string("output", "runs/documents/beta_and_k", "the folder of the figures")


def main(argv):
    """Read the flags and run."""
    names = "dataset", "data_dir", "steps", "batch_size", "seed", "output"
    values = {name: FLAGS[name].value for name in names}
    values["hidden"] = command_line.sizes("hidden", FLAGS.hidden)
    command_line.start(argv, lambda: run(**values))


if __name__ == "__main__":
    _define_flags()
    app.run(main)

"""Entropy, cross-entropy and KL divergence as lengths of files, measured with an entropy coder.

    python examples/documents/code_length.py  # some seconds

Symbols of the distribution P in the best code for P take H(P) bits each, in the best code for Q the cross-entropy
H(P, Q). The difference is KL(P || Q). Three tables compare these with the bits of a real coder, asymmetric numeral
systems: events of given probabilities, the grey levels of the digits in right and wrong codes, and whole numbers from
normal distributions of several scales. The symbols have exactly the frequencies of P, so that nothing is left to
chance. Needs the package constriction.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import command_line
import numpy as np
from absl import app, flags


def bits(symbols, table) -> float:
    """Bits for each symbol, a whole number from 0 on, in the code for these probabilities."""
    from kvae.compress.stack import Stack

    stack = Stack()
    stack.push_table(symbols, np.broadcast_to(table, (len(symbols), len(table))))
    return stack.bits / len(symbols)


def normal_bits(symbols, scale: float) -> float:
    """Bits for each whole number in the code for a normal distribution around 0 that is rounded to them."""
    from kvae.compress.stack import Stack

    stack = Stack()
    stack.push_normal(symbols, np.zeros(len(symbols)), np.full(len(symbols), scale), 2048)
    return stack.bits / len(symbols)


def entropy(p, q=None) -> float:
    """The cross-entropy H(p, q) in bits; of p alone its entropy."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(-np.where(p > 0.0, p * np.log2(p if q is None else q), 0.0).sum())


def of_frequencies(p, count: int) -> tuple[np.ndarray, np.ndarray]:
    """About `count` symbols as often as p says, shuffled; and the frequencies that they have."""
    counts = np.rint(p * count).astype(int)
    symbols = np.repeat(np.arange(len(p)), counts)
    return np.random.default_rng(0).permutation(symbols), counts / counts.sum()


def events(count: int) -> list[tuple]:
    """Rows (name, bits measured, bits expected): an event of probability p takes log2 1/p bits."""
    rows = []
    for name, p in (("1/8", 1 / 8), ("1/6", 1 / 6), ("1/4", 1 / 4), ("1/2", 1 / 2), ("3/4", 3 / 4)):
        rows.append((f"an event of probability {name}", bits(np.ones(count, int), [1.0 - p, p]), -np.log2(p)))
    return rows


def grey_levels(count: int) -> list[tuple]:
    """Rows (name, bits measured, bits expected): the digits' 17 grey levels in four codes, and what the wrong cost."""
    from sklearn.datasets import load_digits

    levels = np.bincount(load_digits().data.astype(int).ravel(), minlength=17)
    symbols, p = of_frequencies(levels / levels.sum(), count)
    middle, uniform = np.arange(17) - (np.arange(17) * p).sum(), np.full(17, 1 / 17)
    normal = np.exp(-0.5 * middle**2 / (middle**2 * p).sum())
    rows = [("grey levels in their own code: H(P)", bits(symbols, p), entropy(p))]
    for name, q in (("a uniform", uniform), ("a normal", normal / normal.sum()), ("the negatives'", p[::-1])):
        measured = bits(symbols, q)
        rows.append((f"grey levels in {name} code: H(P, Q)", measured, entropy(p, q)))
        rows.append((f"more than in their own: KL(P || {name})", measured - rows[0][1], entropy(p, q) - entropy(p)))
    others, q = of_frequencies(uniform, count)
    more, exact = bits(others, p) - bits(others, q), entropy(q, p) - entropy(q)
    return [*rows, ("the other way round: KL(a uniform || P)", more, exact)]


def normals(count: int) -> list[tuple]:
    """Rows (name, bits measured, bits expected): whole numbers from normal distributions, and one code for another."""
    from scipy.stats import norm

    rows, quantiles = [], norm.ppf((np.arange(count) + 0.5) / count)
    for scale in (16.0, 32.0, 64.0, 128.0):  # far above 1, to which they are rounded
        symbols = np.random.default_rng(0).permutation(np.rint(scale * quantiles).astype(int))
        right = normal_bits(symbols, scale)
        rows.append((f"N(0, {scale:g}^2): log2(2 pi e s^2) / 2", right, 0.5 * np.log2(2 * np.pi * np.e * scale**2)))
        for factor in (2.0, 4.0):
            kl = np.log2(factor) + (factor**-2 - 1.0) / (2.0 * np.log(2.0))
            name = f"N(0, {scale:g}^2) in the code for N(0, {factor * scale:g}^2), more: KL"
            rows.append((name, normal_bits(symbols, factor * scale) - right, kl))
    return rows


def figure_of(rows):
    """The entropy of the grey levels, with the divergence on top of it, beside the bits measured."""
    from kvae.plots.figures import new_figure

    figure = new_figure(7, 3.2)
    axes = figure.add_subplot()
    coded = [row for row in rows if "code: H" in row[0]]
    labels, own = [row[0].split(" in ")[1].split(":")[0] for row in coded], coded[0][2]
    places = np.arange(len(coded))
    axes.bar(places - 0.2, [own] * len(coded), 0.4, label="entropy H(P)")
    axes.bar(places - 0.2, [row[2] - own for row in coded], 0.4, own, label="divergence KL(P || Q)")
    axes.bar(places + 0.2, [row[1] for row in coded], 0.4, label="the file")
    axes.set_xticks(places, labels)
    axes.set(ylabel="bits for a pixel", title="grey levels of the digits in right and wrong codes", ylim=(0, 5.4))
    axes.legend(ncols=3)
    return figure


def run(count=200_000, output="runs/documents/code_length") -> list[tuple]:
    """Code all symbols, print the table and return its rows; the arguments are the flags."""
    command_line.check_writable(output)
    rows = [*events(count), *grey_levels(count), *normals(count)]
    print(f"{'bits for a symbol':60s} {'measured':>9s} {'expected':>9s} {'apart':>9s}")
    for name, measured, expected in rows:
        print(f"{name:60s} {measured:9.5f} {expected:9.5f} {measured / expected - 1.0:+9.3%}")
    path = Path(output) / "code_length.png"
    command_line.write_whole(path, lambda file: figure_of(rows).savefig(file, dpi=110))
    print(f"Wrote {path}.")
    return rows


def _define_flags():
    flags.DEFINE_integer("count", 200_000, "symbols in each file", lower_bound=1000)
    flags.DEFINE_string("output", "runs/documents/code_length", "the folder of the figure")


def main(argv):
    """Read the flags and run."""
    command_line.call(argv, run)


if __name__ == "__main__":
    _define_flags()
    app.run(main)

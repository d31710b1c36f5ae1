"""Damage the files of `kvae.compress`, and give it hostile input: what was put in, or a clear error.

    python benchmarks/faults/compression.py --calls 10000 --seed 0  # two minutes

Damage: bits flipped, bytes changed, inserted, left out, doubled or exchanged, the end cut off, parts of two files.
Input: arrays of any dtype, shape, order and values, to models of binary data, levels and counts.
"wrong" is another x than what was encoded, "other error" one that is not a sentence of kvae's. Both must be 0.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import collections
import functools
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import keras
import numpy as np

import kvae

OUTCOMES = ("right", "refused", "wrong", "other error")


@functools.cache
def model(likelihood: str) -> kvae.VAE:
    """A small model of 6 elements."""
    keras.utils.set_random_seed(0)
    kinds = {
        "bits": kvae.likelihoods.Bernoulli, "counts": kvae.likelihoods.Poisson,
        "levels": lambda: kvae.likelihoods.BetaBinomial(20),
    }  # fmt: skip
    return kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(4,)), likelihood=kinds[likelihood]())


def outcome(expected, call) -> str:
    """What a call that should give `expected` comes to."""
    try:
        found = call()
    except (ValueError, TypeError) as error:
        return "refused" if len(str(error)) > 20 and str(error).rstrip().endswith((".", ")")) else "other error"
    except BaseException:  # a panic of the coder's is no Exception
        return "other error"
    same = (found.dtype == expected.dtype or expected.dtype == object) and np.array_equal(found, expected)
    return "right" if same else "wrong"


def damaged(calls: int, seed: int) -> collections.Counter:
    """Outcomes of decoding damaged files; "right" where the damage changed nothing."""
    random, vae = np.random.default_rng(seed), model("bits")
    x = random.integers(0, 2, (2, 70, 6)).astype(np.uint8)
    contents = [kvae.compress.encode(vae, one) for one in x]
    found: collections.Counter = collections.Counter(dict.fromkeys(OUTCOMES, 0))
    for _ in range(calls):
        content = _damage(random, *contents)
        expected = x[1] if content == contents[1] else x[0]
        found[outcome(expected, lambda content=content: kvae.compress.decode(vae, content))] += 1
    return found


def _damage(random, content: bytes, other: bytes) -> bytes:
    """A file with one kind of damage."""
    one, two = np.sort(random.integers(0, len(content), 2))
    some = random.bytes(int(random.integers(1, 9)))
    changed = bytearray(content)
    for place in random.integers(0, len(content), random.integers(1, 4)):
        changed[place] ^= 1 << random.integers(8)
    return [
        bytes(changed),
        content[:one],
        content[:one] + some + content[one:],
        content[:one] + content[two + 1 :],
        content[:two] + content[one:],
        content[:one] + some + content[one + len(some) :],
        content[:one] + other[one:],
        content[:one] + bytes(two - one) + content[two:],
        content + some,
        some,
    ][random.integers(10)]


def hostile(calls: int, seed: int) -> collections.Counter:
    """Outcomes of encoding and decoding hostile input."""
    random = np.random.default_rng(seed)
    found: collections.Counter = collections.Counter(dict.fromkeys(OUTCOMES, 0))
    for _ in range(calls):
        vae, x = model(str(random.choice(["bits", "counts", "levels"]))), _input(random)
        found[outcome(x, lambda vae=vae, x=x: kvae.compress.decode(vae, kvae.compress.encode(vae, x)))] += 1
    return found


def _input(random) -> np.ndarray:
    """An array, often one that fits."""
    n = int(random.integers(0, 40) if random.random() < 0.3 else random.integers(1, 4))
    shape = (n, 6) if random.random() < 0.85 else [(n,), (n, 5), (6,), (n, 6, 1), (), (n, 0)][random.integers(6)]
    high = random.choice([1, 1, 20, 300, 2**24, 2**24 + 2, 2**40])
    x = np.asarray(random.integers(0, high + 1, shape))
    dtypes = ["?", "u1", "i1", "<i2", ">i4", "u8", "i8", "f2", "f4", "f8", "f8", ">f4", "c8", "O", "S3", "m8[s]"]
    with np.errstate(all="ignore"):
        x = x.astype(random.choice(dtypes))
    if x.dtype.kind == "f" and x.size and random.random() < 0.4:
        with np.errstate(all="ignore"):  # beyond float16
            x[(0,) * x.ndim] = random.choice([np.nan, np.inf, -1.0, 0.5, 1e-9, 1.0 + 1e-12, 1e30])
    if x.ndim and random.random() < 0.2:
        x = [x[::-1], np.asfortranarray(x), np.ma.masked_array(x, np.zeros(x.shape, bool))][random.integers(3)]
    return x


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed = False
    for job in (damaged, hostile):
        found = job(options.calls, options.seed)
        print(job.__name__, dict(found), flush=True)
        failed |= bool(found["wrong"] or found["other error"])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""Give `kvae.load_model` files that were made to do harm: each is refused before anything is made of it.

    python benchmarks/faults/hostile_files.py  # two minutes

Bombs, paths that lead out of a folder, Python code, weights that are elsewhere; and models of several kinds in whose
configuration one whole number is 10^9 or 10^12. The last may also be right, where the number has no size, such as a
seed. "refused" is a sentence of kvae's, "other error" another one, "slow" takes more than ten seconds. The process may
take 4 GB more than it has at the start.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import argparse
import collections
import copy
import io
import json
import pathlib
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import h5py
import keras
import numpy as np

import kvae

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
HUGE = (10**9, 10**12)


def outcome(path: pathlib.Path, load: Callable = kvae.load_model) -> str:
    """What loading comes to."""
    begun = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Keras, on its way to an error
            load(path)
        found = "right"
    except ValueError as error:
        ours = str(error).startswith(str(path)) and str(error).endswith(".")
        found = "refused" if ours else f"other error: {str(error)[:200]}"
    except BaseException as error:
        found = f"other error: {type(error).__name__} {str(error)[:200]}"
    return found if time.monotonic() - begun < 10.0 else "slow"


def model(**parts) -> kvae.VAE:
    """A small one."""
    keras.utils.set_random_seed(0)
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(4,)), **parts)
    vae.compile("adam")
    return vae


def parts_of(path) -> dict[str, bytes]:
    """The parts of a zip file."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: pathlib.Path, parts: dict, compression=zipfile.ZIP_STORED) -> pathlib.Path:
    """A zip file of parts; a value may be a pair, for two parts of one name."""
    with zipfile.ZipFile(path, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two names
        for name, content in parts.items():
            for one in content if isinstance(content, tuple) else (content,):
                archive.writestr(name, one)
    return path


def weights(change: Callable) -> bytes:
    """An HDF5 file that a function has filled."""
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        change(opened)
    return file.getvalue()


def archives(folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    """Hostile archives, by name."""
    path = folder / "whole.keras"
    model().save(path)
    whole = parts_of(path)
    config = json.loads(whole[CONFIG])
    for name in ("../out", "/tmp/out", "assets/../../out", "..\\out", "C:/out"):
        yield f"a part {name}", write(folder / "path.keras", whole | {name: b"x"})
    yield "two configurations", write(folder / "two.keras", whole | {CONFIG: (whole[CONFIG], b"{}")})
    yield "many parts", write(folder / "many.keras", whole | {f"assets/{n}": b"" for n in range(10_000)})
    deflated = zipfile.ZIP_DEFLATED
    zeros = bytes(2**26)
    yield "a large part", write(folder / "bomb.keras", whole | {"assets/x": zeros}, deflated)
    yield "large weights", write(folder / "weights.keras", whole | {WEIGHTS: whole[WEIGHTS] + zeros}, deflated)
    yield "a large configuration", write(folder / "json.keras", whole | {CONFIG: b" " * 2**26 + b"{}"}, deflated)
    yield "by LZMA", write(folder / "lzma.keras", whole, zipfile.ZIP_LZMA)
    for text in (b"[" * 10**6, b"{", b"[]", b"9" * 10**6, b"\xff", b""):
        yield f"JSON {text[:3]!r}", write(folder / "text.keras", whole | {CONFIG: text})
    hdf5 = {
        "no HDF5 file": lambda: b"x" * 1000,
        "arrays that are not there": lambda: weights(
            lambda file: file.create_dataset("a", (10**12,), "f4", chunks=True)
        ),
        "compressed arrays": lambda: weights(
            lambda file: file.create_dataset("a", data=np.zeros(10**7, np.float32), compression="gzip")
        ),
        "arrays of another file": lambda: weights(
            lambda file: file.create_dataset("a", (4,), "u1", external=[("/etc/passwd", 0, 4)])
        ),
        "a link to another file": lambda: weights(lambda file: file.update({"layers": h5py.ExternalLink("/x", "/")})),
        "a link in a circle": lambda: weights(lambda file: file.create_group("layers").update({"a": file["/"]})),
        "no arrays": lambda: weights(lambda file: None),
    }
    for name, make in hdf5.items():
        yield name, write(folder / "hdf5.keras", whole | {WEIGHTS: make()})
    for kind in ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper"):
        code = {"class_name": kind, "module": "keras.layers", "config": {"filepath": "/tmp", "value": "x"}}
        changed = copy.deepcopy(config)
        changed["config"]["encoder"]["config"]["layers"][1] = code
        yield kind, write(folder / "code.keras", whole | {CONFIG: json.dumps(changed).encode()})
    for module, name in (("os", "system"), ("keras.utils", "get_file"), ("builtins", "eval"), ("kvae", "VAE")):
        changed = copy.deepcopy(config)
        changed["config"]["likelihood"] = {"module": module, "class_name": name, "config": {}, "registered_name": name}
        yield f"{module}.{name}", write(folder / "code.keras", whole | {CONFIG: json.dumps(changed).encode()})


def numbers(content, path=()) -> Iterator[tuple]:
    """Where the whole numbers of a JSON document are."""
    if isinstance(content, (dict, list)):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from numbers(value, (*path, key))
    elif isinstance(content, int) and not isinstance(content, bool):
        yield path


def models() -> dict[str, Callable[[], keras.Model]]:
    """Of several kinds."""
    images = kvae.networks.conv((8, 8, 1), 2, filters=(2,), dense=3)
    likelihoods, priors = kvae.likelihoods, kvae.priors
    return {
        "mlp": model,
        "conv": lambda: kvae.VAE(*images, likelihood="bernoulli"),
        "levels": lambda: model(likelihood=likelihoods.DiscretizedLogistic(levels=8, components=2)),
        "categories": lambda: model(likelihood=likelihoods.Categorical(levels=3), prior=priors.VampPrior(3)),
        "counts": lambda: model(likelihood=likelihoods.BetaBinomial(count=9), prior=priors.MixtureOfNormals(3)),
        "groups": lambda: model(
            likelihood=likelihoods.Joint({"a": (0, likelihoods.Normal()), "b": (range(1, 6), likelihoods.Ordinal(4))}),
            posterior=kvae.posteriors.LowRankNormal(1),
        ),
        "codes": lambda: model(posterior=kvae.posteriors.VectorQuantized(codes=4, dim=1), prior="codes"),
        "scalars": lambda: model(posterior=kvae.posteriors.FiniteScalar(levels=(3,)), prior="codes"),
        "flow": lambda: model(posterior=kvae.posteriors.Flow("coupling", layers=2), prior=priors.Flow("maf")),
        "objective": lambda: model(objective=kvae.objectives.IWAE(samples=4)),
        "dynamics": lambda: kvae.dynamics.Dynamics(model(), "gru"),
    }  # fmt: skip


def sizes(folder: pathlib.Path, names=None, most: int | None = None) -> Iterator[tuple[str, pathlib.Path]]:
    """Models with one whole number changed, by its place; at most so many of each kind, evenly chosen."""
    for name, make in models().items():
        if names is not None and name not in names:
            continue
        path = folder / f"{name}.keras"
        make().save(path)
        whole = parts_of(path)
        config = json.loads(whole[CONFIG])
        places = list(numbers(config))
        for place in places[:: 1 if most is None else max(1, len(places) // most)]:
            for huge in HUGE:
                changed = copy.deepcopy(config)
                inner = changed
                for key in place[:-1]:
                    inner = inner[key]
                inner[place[-1]] = huge
                where = ".".join(str(key) for key in place if key != "config")
                content = whole | {CONFIG: json.dumps(changed).encode()}
                yield f"{name}: {where} = {huge:.0e}", write(folder / "size.keras", content)


def bounded(more: int = 4 << 30) -> None:
    """Take no more memory than this process has, and `more`."""
    now = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more, resource.RLIM_INFINITY))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="*", help="of models for the sizes; by default all")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model().save(folder / "first.keras")
        kvae.load_model(folder / "first.keras")
        bounded()
        jobs_of = {"archives": archives(folder)} if options.kinds is None else {}
        jobs_of["sizes"] = sizes(folder, options.kinds)
        for title, jobs in jobs_of.items():
            found: collections.Counter = collections.Counter()
            for case, path in jobs:
                what = outcome(path)
                bad = what != "refused" and (title == "archives" or what != "right")
                found[what.split(":")[0]] += 1
                failed |= bad
                if bad or options.verbose:
                    print(f"  {case}: {what}", flush=True)
            print(title, dict(found), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()

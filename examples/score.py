"""Score a data set that may be larger than memory, in parts: codes, scores, log p(x) of each row.

    python examples/score.py --model runs/digits/model.keras --data x.npy --output runs/scores
    python examples/score.py --model saved_models/digits/1 --data rows/ --outputs score,log_likelihood \
        --format parquet --output runs/scores --engine ray --workers 8

--output gets files of --rows rows each, `part-000000.npy` and so on: structured arrays with the row's number, `valid`
and the outputs by name; with --format=parquet columns of these names. Stopped and started again with the same flags,
it computes the parts that are missing. `_manifest.json` says what was computed; other flags, another model or other
data in the same folder are refused.

A row's numbers depend on the row, its number and --seed alone, not on --rows or --engine. Row i has the seed s =
(i + 1327217885 seed) mod 2^31, so that its ELBO is `vae.elbo(x[i : i + 1], seed=s)`. Rows with NaN or with values that
the likelihood does not explain have valid=False and NaN.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import hashlib
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import command_line
import row_files
import scoring
from absl import app, flags


def run(
    model, data, output, outputs=("embed", "score", "log_likelihood"), format="npy", rows=65536, engine="local",
    workers=2, batch_size=256, seed=0, samples=None, name="x", divide=1.0, invalid="nan",
) -> dict:  # fmt: skip
    """Compute what is missing in `output`; return how many rows there are and how many are not valid.

    The arguments are the flags.
    """
    command_line.check_writable(output)
    if not outputs or set(outputs) - set(scoring.SIGNATURES):
        raise ValueError(f"--outputs takes some of {', '.join(scoring.SIGNATURES)}, got {','.join(outputs)}.")
    model, folder, opened = Path(model), Path(output), row_files.opened(data, name)
    if not opened.count:
        raise ValueError(f"{data} holds no rows.")
    digest, samples = _digest(model), _samples(model, samples)
    served = model if samples is None else folder / f"_model-{digest[:12]}-{samples}"
    plan = scoring.Plan(
        str(served.resolve()), str(Path(data).resolve()), name, tuple(outputs), str(folder.resolve()), format, rows,
        batch_size, seed, divide, invalid,
    )  # fmt: skip
    wanted = {
        "model": digest,
        "data": [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in opened.files],
        "rows_in_all": opened.count,
        "samples": samples,
    } | {key: value for key, value in dataclasses.asdict(plan).items() if key not in ("model", "data", "output")}
    _check_same(folder, json.loads(json.dumps(wanted)))
    parts = {part: scoring.invalid_rows(plan.path(part), _rows(plan, part, opened.count))
             for part in range(-(-opened.count // rows))}  # fmt: skip
    missing = [part for part, found in parts.items() if found is None]
    if missing:
        if not served.exists():
            import kvae

            kvae.load_model(model).export(served, samples=samples, verbose=False)
        first = scoring.scorer(plan).batch(0)  # what does not fit is told before the work begins
        command_line.write_json(folder / "_manifest.json", wanted)
        if not first["valid"].any():
            print(f"None of the first {len(first)} rows is explained by the likelihood. Pixels may need --divide=255.")
        started, done = time.monotonic(), 0
        for found in scoring.ENGINES[engine](plan, missing, workers):
            parts[int(found["part"])] = int(found["invalid"])
            done += int(found["rows"])
            print(f"part {found['part']} of {len(parts)}: {done / (time.monotonic() - started):,.0f} rows a second",
                  flush=True)  # fmt: skip
    for left in folder.glob(".part-*"):  # by processes that were killed
        left.unlink()
    total = sum(parts.values())
    print(f"{output} holds {opened.count} rows in {len(parts)} parts; {total} rows are not valid.")
    return {"rows": opened.count, "parts": len(parts), "computed": len(missing), "invalid": total}


def _rows(plan, part: int, count: int) -> int:
    first, last = plan.limits(part, count)
    return last - first


def _digest(model: Path) -> str:
    """Of the files of a model; `assets.extra` stands beside it."""
    if not model.exists():
        raise FileNotFoundError(f"There is no {model}. Give a .keras file or the folder of a SavedModel.")
    files = sorted(f for f in model.rglob("*") if f.is_file()) if model.is_dir() else [model]
    digest = hashlib.sha256()
    for file in files:
        if "assets.extra" not in file.parts:
            digest.update(f"{file.relative_to(model)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _samples(model: Path, samples: int | None) -> int | None:
    """Those that a `.keras` file is exported with; None for a SavedModel."""
    if not model.is_dir():
        return samples or 100
    if not (model / "saved_model.pb").exists():
        raise ValueError(f"{model} is no SavedModel. Give the folder of a version, such as saved_models/digits/1.")
    if samples is not None:
        raise ValueError("--samples goes with a .keras file. A SavedModel has the draws that it was exported with.")
    return None


def _check_same(folder: Path, wanted: dict) -> None:
    """Raise a ValueError where the folder holds parts of other work."""
    path = folder / "_manifest.json"
    if not path.exists() or not any(folder.glob("part-*")):
        return
    before = json.loads(path.read_text())
    changed = [key for key, value in wanted.items() if before.get(key) != value]
    if changed:
        told = [f"another {key}" if key in ("model", "data") else f"{key}={before.get(key)!r}" for key in changed]
        raise ValueError(
            f"{folder} holds parts of other work ({', '.join(told)}). Give the same flags to go on with it, or another "
            "--output."
        )


def _define_flags():
    flags.DEFINE_string("model", None, "a .keras file, or the folder of a SavedModel", required=True)
    flags.DEFINE_string(
        "data", None, "a .npy, .npz or .parquet file, or a folder of .npy or .parquet files", required=True
    )
    flags.DEFINE_string("output", None, "the folder of the parts", required=True)
    flags.DEFINE_list("outputs", [*scoring.SIGNATURES], f"what a row gets: {', '.join(scoring.SIGNATURES)}")
    flags.DEFINE_enum("format", "npy", ["npy", "parquet"], "of the parts")
    flags.DEFINE_integer("rows", 65536, "of a part", lower_bound=1)
    flags.DEFINE_enum("engine", "local", [*scoring.ENGINES], "what computes the parts")
    flags.DEFINE_integer("workers", 2, "processes of Ray or Dask, each with the model in memory", lower_bound=1)
    flags.DEFINE_integer("batch_size", 256, "rows that the model is given at a time", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "of the draws", lower_bound=0, upper_bound=2**31 - 1)
    flags.DEFINE_integer("samples", None, "draws of z for each row's log p(x), of a .keras file; 100 by default",
                         lower_bound=1)  # fmt: skip
    flags.DEFINE_string("name", "x", "of the array of x in a .npz file or a folder")
    flags.DEFINE_float("divide", 1.0, "x is divided by this, such as pixels by 255")
    flags.DEFINE_enum("invalid", "nan", ["nan", "raise"], "whether rows that the likelihood does not explain get NaN, "
                      "or end the program")  # fmt: skip


def main(argv):
    """Read the flags and run."""
    command_line.call(argv, run)


if __name__ == "__main__":
    _define_flags()
    app.run(main)

"""Parts of a data set, scored by a SavedModel and written as files: the work of score.py, on whatever machine it runs.

It needs TensorFlow, but not kvae. A row's numbers depend on the row, its number and the seed alone: its noise has a
seed of its own, and it always stands in the same batch, the one of the rows k B to (k + 1) B - 1, whatever the parts.
"""

import dataclasses
import functools
import os
from pathlib import Path

import command_line
import numpy as np
import row_files

SIGNATURES = {"embed": "encode", "score": "score", "log_likelihood": "log_likelihood"}
_GOLDEN = 1327217885  # 2**31 over the golden ratio: the numbers of different seeds are far apart


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is computed, of what, and where it is written."""

    model: str
    data: str
    name: str
    outputs: tuple[str, ...]
    output: str
    format: str
    rows: int
    batch_size: int
    seed: int
    divide: float
    invalid: str

    def path(self, part: int) -> Path:
        """The file of a part."""
        return Path(self.output) / f"part-{part:06d}.{self.format}"

    def limits(self, part: int, count: int) -> tuple[int, int]:
        """The number of a part's first row, and the one behind its last."""
        return part * self.rows, min(count, (part + 1) * self.rows)


def seeds(seed: int, first: int, last: int) -> np.ndarray:
    """Of the rows `first` to `last` - 1, int32: (row + 1327217885 seed) mod 2^31."""
    return ((np.arange(first, last) + _GOLDEN * seed) % 2**31).astype(np.int32)


class Scorer:
    """Computes parts of a plan, with the model loaded and the data opened once.

    Attributes:
        count: how many rows the data have.
    """

    def __init__(self, plan: Plan):
        import tensorflow as tf

        self.tf, self.plan, self.data = tf, plan, row_files.opened(plan.data, plan.name)
        self.count = self.data.count
        known = loaded(plan.model).signatures
        missing = [name for name in plan.outputs if SIGNATURES[name] not in known]
        if missing:
            raise ValueError(
                f"The model has no {', '.join(missing)}, only the signatures {sorted(known)}. A deterministic "
                "posterior has no density; leave this out of --outputs."
            )
        self.signatures = [known[SIGNATURES[name]] for name in plan.outputs]
        self.specs = {spec.name: spec for one in self.signatures for spec in one.structured_input_signature[1].values()}

    def __call__(self, part: int) -> dict:
        """Write the file of a part, whole or not at all; return the part, its rows, and how many are not valid."""
        first, last = self.plan.limits(part, self.count)
        size = self.plan.batch_size
        found = [self.batch(batch)[max(0, first - batch * size) : last - batch * size]
                 for batch in range(first // size, -(-last // size))]  # fmt: skip
        table = np.concatenate(found)
        invalid = table["row"][~table["valid"]]
        if len(invalid) and self.plan.invalid == "raise":
            raise ValueError(
                f"Row {invalid[0]} of {self.plan.data} holds NaN, infinity or values that the likelihood does not "
                "explain. With --invalid=nan such rows have NaN and valid=False."
            )
        write(self.plan.path(part), table)
        return {"part": part, "rows": len(table), "invalid": len(invalid)}

    def batch(self, number: int) -> np.ndarray:
        """What the rows of a batch have: their number, `valid`, and the outputs.

        The last batch is filled up with its last row, so that all have one shape.
        """
        size = self.plan.batch_size
        first, last = number * size, min(self.count, (number + 1) * size)
        inputs, valid = self._inputs(first, last)
        fed = {name: self.tf.constant(np.concatenate([one, np.repeat(one[-1:], size - len(one), axis=0)]))
               for name, one in inputs.items()}  # fmt: skip
        found: dict[str, np.ndarray] = {"row": np.arange(first, last), "valid": valid}
        for signature in self.signatures:
            wanted = signature.structured_input_signature[1]
            for name, value in sorted(signature(**{name: fed[name] for name in wanted}).items()):
                value = value.numpy()[: last - first]
                found[name] = found["valid"] & value if name == "valid" else value
        table = np.empty(last - first, [(name, value.dtype, value.shape[1:]) for name, value in found.items()])
        for name, value in found.items():
            table[name] = value
            if name not in ("row", "valid"):
                table[name][~found["valid"]] = np.nan if value.dtype.kind == "f" else -1
        return table

    def _inputs(self, first: int, last: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """What the signatures take of these rows, and which of them are fit for it."""
        data, count = self.data.read(first, last), last - first
        fine, inputs = np.ones(count, bool), {"seed": seeds(self.plan.seed, first, last)}
        for name in ("x", "condition", "mask"):
            if name not in self.specs:
                continue
            spec, value = self.specs[name], data.get(name)
            dtype, shape = spec.dtype.as_numpy_dtype, tuple(spec.shape[1:])
            if value is None and name == "mask":
                value = ~np.isnan(data["x"])
            if value is None:
                raise ValueError(f"The model takes a condition, and {self.plan.data} has none. Add 'condition'.")
            if name == "condition" and value.ndim == 1 and value.dtype.kind in "iu" and len(shape) == 1:
                fine = (value >= 0) & (value < shape[0])
                value = np.eye(shape[0])[np.where(fine, value, 0)]
            if value[0].size != np.prod(shape, dtype=int):
                raise ValueError(f"The model takes {name} of shape {shape}, {self.plan.data} has {value.shape[1:]}.")
            value = value.astype(dtype).reshape(count, *shape)
            inputs[name] = value / dtype(self.plan.divide) if name == "x" and self.plan.divide != 1.0 else value
        return inputs, fine


@functools.lru_cache(1)
def loaded(model: str):
    """The SavedModel of this process."""
    import tensorflow as tf

    return tf.saved_model.load(model)


@functools.lru_cache(1)
def scorer(plan: Plan) -> Scorer:
    """That of this process."""
    return Scorer(plan)


def score_part(plan: Plan, part: int) -> dict:
    """Write the file of a part by the scorer of this process."""
    return scorer(plan)(part)


def write(path: Path, table: np.ndarray) -> None:
    """A structured array as `.npy`, or as Parquet with a column for each field; tensors are lists of one length."""
    if path.suffix == ".npy":
        command_line.write_whole(path, lambda file: np.save(file, table))
        return
    import pyarrow
    from pyarrow import parquet

    columns = {}
    for name in table.dtype.names:
        flat = pyarrow.array(np.ascontiguousarray(table[name]).reshape(-1))
        shape = table.dtype[name].shape
        columns[name] = pyarrow.FixedSizeListArray.from_arrays(flat, int(np.prod(shape))) if shape else flat
    command_line.write_whole(path, lambda file: parquet.write_table(pyarrow.table(columns), file))


def invalid_rows(path: Path, count: int) -> int | None:
    """How many rows of a file of `count` are not valid; None where it is no whole file of so many."""
    try:
        if path.suffix == ".npy":
            valid = np.load(path, mmap_mode="r")["valid"]
        else:
            from pyarrow import parquet

            valid = parquet.read_table(path, columns=["valid"])["valid"].to_numpy()
    except (OSError, ValueError, EOFError):  # pyarrow's errors are OSError and ValueError
        return None
    return int(np.count_nonzero(~valid)) if len(valid) == count else None


def run_local(plan: Plan, parts: list[int], workers: int):
    """One part after another in this process."""
    return (score_part(plan, part) for part in parts)


def run_ray(plan: Plan, parts: list[int], workers: int):
    """By Ray Data: each actor has loaded the model. A cluster is found by the variable RAY_ADDRESS."""
    import ray

    paths = os.pathsep.join([str(Path(__file__).resolve().parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    ray.init(runtime_env={"env_vars": {"PYTHONPATH": paths}}, logging_level="error", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False

    class Actor:
        def __init__(self, plan):
            self.plan = plan

        def __call__(self, batch):
            import scoring

            done = [scoring.score_part(self.plan, int(part)) for part in batch["part"]]
            return {name: [one[name] for one in done] for name in done[0]}

    items = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
    return items.map_batches(
        Actor,
        fn_constructor_args=[plan],
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(parts))),
    ).iter_rows()


def run_dask(plan: Plan, parts: list[int], workers: int):
    """By Dask: in processes here, or on the cluster of the scheduler in the variable DASK_SCHEDULER_ADDRESS."""
    import dask

    tasks = [dask.delayed(score_part)(plan, part, dask_key_name=f"part-{part}") for part in parts]
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    if not address:
        yield from dask.compute(*tasks, scheduler="processes", num_workers=min(workers, len(parts)))
        return
    from dask import distributed

    with distributed.Client(address) as client:
        for future in distributed.as_completed(client.compute(tasks)):
            yield future.result()


ENGINES = {"local": run_local, "ray": run_ray, "dask": run_dask}

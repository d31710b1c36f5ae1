"""Rows of data that may be larger than memory, by their numbers: .npy, .npz, Parquet, and folders of these."""

import threading
from pathlib import Path

import numpy as np

BESIDE = "condition", "mask"


class Arrays:
    """Rows of NumPy files, memory-mapped where they are `.npy`.

    Attributes:
        files: what is read.
        count: how many rows there are.
        names: of what stands in a row: "x", and where they are there "condition" and "mask".
    """

    def __init__(self, files: list[Path], parts: dict[str, list[np.ndarray]]):
        self.files, self.parts, self.names = files, parts, tuple(parts)
        lengths = {name: [len(part) for part in arrays] for name, arrays in parts.items()}
        self.count = sum(lengths["x"])
        for name, each in lengths.items():
            if sum(each) != self.count:
                raise ValueError(f"There are {self.count} rows of x, but {sum(each)} of {name}. Give as many of each.")
        self.ends = {name: np.cumsum(each) for name, each in lengths.items()}

    def read(self, first: int, last: int) -> dict[str, np.ndarray]:
        """The rows from number `first` on, without number `last`: an array for each name."""
        found = {}
        for name, parts in self.parts.items():
            rows = []
            for part, end in zip(parts, self.ends[name], strict=True):
                start = end - len(part)
                if first < end and start < last:
                    rows.append(np.asarray(part[max(0, first - start) : last - start]))
            found[name] = np.concatenate(rows) if rows else np.asarray(parts[0][:0])
        return found


class Parquet:
    """Rows of Parquet files: `x` is the column of lists of that name, or else all columns of numbers in their order.

    Attributes: as those of `Arrays`.
    """

    def __init__(self, files: list[Path]):
        from pyarrow import parquet

        self.files, self.opened = files, [parquet.ParquetFile(file) for file in files]
        names = {file: one.schema_arrow.names for file, one in zip(files, self.opened, strict=True)}
        columns = names[files[0]]
        for file, there in names.items():
            if there != columns:
                raise ValueError(f"{file} has the columns {there}, {files[0]} has {columns}. Give files of one table.")
        self.columns = ["x"] if "x" in columns else [name for name in columns if name not in BESIDE]
        self.names = ("x", *(name for name in BESIDE if name in columns))
        self.groups = [(one, i) for one in self.opened for i in range(one.num_row_groups)]
        self.ends = np.cumsum([one.metadata.row_group(i).num_rows for one, i in self.groups], dtype=np.int64)
        self.count = int(self.ends[-1]) if len(self.ends) else 0
        self.lock = threading.Lock()

    def read(self, first: int, last: int) -> dict[str, np.ndarray]:
        """As `Arrays.read`. Missing values are NaN."""
        import pyarrow

        tables, wanted = [], [*self.columns, *self.names[1:]]
        for (file, group), end in zip(self.groups, self.ends, strict=True):
            start = int(end) - file.metadata.row_group(group).num_rows
            if first < end and start < last:
                with self.lock:
                    table = file.read_row_group(group, columns=wanted)
                tables.append(table.slice(max(0, first - start), min(last, int(end)) - max(first, start)))
        table = pyarrow.concat_tables(tables)
        columns = [_numbers(name, table[name]) for name in self.columns]
        x = columns[0] if self.columns == ["x"] else np.stack(columns, axis=-1)
        return {"x": x} | {name: _numbers(name, table[name]) for name in self.names[1:]}


def _numbers(name: str, column) -> np.ndarray:
    """A column `[N]`, or one of lists of one length `[N, length]`."""
    import pyarrow

    column, lists = column.combine_chunks(), 0
    rows = len(column)
    while pyarrow.types.is_list(column.type) or pyarrow.types.is_fixed_size_list(column.type):
        lengths = set(column.value_lengths().to_pylist()) if pyarrow.types.is_list(column.type) else set()
        if column.null_count or len(lengths) > 1:
            raise ValueError(f"The lists in the column {name!r} have different lengths. Give rows of one shape.")
        column, lists = column.flatten(), lists + 1
    if not (pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type) or column.type == "bool"):
        raise ValueError(f"The column {name!r} holds {column.type}, no numbers. Leave it out, or encode it.")
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype == object:  # booleans with missing ones
        values = values.astype(np.float64)
    return values.reshape(rows, -1) if lists else values


def opened(path, name: str = "x") -> Arrays | Parquet:
    """The rows of a file or a folder.

    Args:
        path: a `.npy` file of x; a `.npz` file, or a folder of `.npy` files, with the arrays `name`, "condition" and
            "mask", of which the last two may be missing; a `.parquet` file; or a folder of `.npy` or `.parquet` files
            that hold x one after another, in the order of their names.
        name: of the array x.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}. Check the path.")
    if path.is_dir():
        return _of_folder(path, name)
    if path.suffix == ".npy":
        return Arrays([path], {"x": [_mapped(path)]})
    if path.suffix == ".parquet":
        return Parquet([path])
    if path.suffix != ".npz":
        raise ValueError(f"{path} is no .npy, .npz or .parquet file, nor a folder of these.")
    with np.load(path, allow_pickle=False) as file:
        if name not in file:
            raise ValueError(f"{path} holds the arrays {sorted(file)}. Say which is x: --name={sorted(file)[0]}.")
        found = {"x": file[name]} | {beside: file[beside] for beside in BESIDE if beside in file}
    return Arrays([path], {name: [array] for name, array in found.items()})


def _of_folder(path: Path, name: str):
    if (path / f"{name}.npy").exists():
        files = {"x": path / f"{name}.npy"} | {beside: path / f"{beside}.npy" for beside in BESIDE}
        files = {key: file for key, file in files.items() if file.exists()}
        return Arrays([*files.values()], {key: [_mapped(file)] for key, file in files.items()})
    tables, arrays = sorted(path.glob("*.parquet")), sorted(path.glob("*.npy"))
    if bool(tables) == bool(arrays):
        raise ValueError(f"{path} must hold either .npy or .parquet files, one after another.")
    return Parquet(tables) if tables else Arrays(arrays, {"x": [_mapped(file) for file in arrays]})


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a whole .npy file of numbers ({error}).") from None

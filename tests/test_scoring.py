"""`examples/score.py`: scores in parts. A row's numbers are those of the model, whatever the parts and the engine."""

import importlib.util
import os
import pathlib

import keras
import numpy as np
import pytest

import kvae
from tests.test_examples import ended, program

N, SEED, GOLDEN = 61, 3, 1327217885


class Made:
    """A conditional model with a mask, its SavedModel, data, and what one part of them holds."""

    def __init__(self, folder: pathlib.Path):
        self.folder, random = folder, np.random.default_rng(0)
        keras.utils.set_random_seed(0)
        networks = kvae.networks.mlp((3, 2), 2, hidden=(8,), condition=3, mask=True)
        self.vae = kvae.VAE(*networks, likelihood="continuous_bernoulli")
        self.vae.save(folder / "m.keras")
        self.x = random.random((N, 3, 2)).astype(np.float32)
        self.y = random.integers(0, 3, N)
        self.x[5, 1, 0] = self.x[40, 2] = np.nan  # missing
        np.savez(folder / "all.npz", x=self.x, condition=self.y)
        self.program = program("score")
        self.run(folder / "m.keras", folder / "all.npz", folder / "whole", rows=N, samples=7, seed=SEED)
        (self.model,) = (folder / "whole").glob("_model-*-7")
        self.whole = table(folder / "whole")

    def run(self, *arguments, batch_size=8, **flags):
        return self.program.run(*map(str, arguments), batch_size=batch_size, **flags)


def table(folder) -> np.ndarray:
    return np.concatenate([np.load(path) for path in sorted(folder.glob("part-*.npy"))])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("scores"))


@pytest.mark.slow
def test_parts_change_nothing(made, tmp_path):
    """In parts that divide the batches and that do not: bit for bit, at one shape of batch."""
    for rows in (16, 7, 50):
        found = made.run(made.model, made.folder / "all.npz", tmp_path / f"{rows}", rows=rows, seed=SEED)
        assert found == {"rows": N, "parts": -(-N // rows), "computed": -(-N // rows), "invalid": 0}
        assert table(tmp_path / f"{rows}").tobytes() == made.whole.tobytes()
    made.run(made.model, made.folder / "all.npz", tmp_path / "wide", rows=30, seed=SEED, batch_size=64)
    for name in made.whole.dtype.names:
        np.testing.assert_allclose(table(tmp_path / "wide")[name], made.whole[name], rtol=1e-5, atol=1e-5)


def test_a_row_has_the_models_numbers(made):
    found, condition = made.whole, {"condition": made.y, "mask": ~np.isnan(made.x)}
    assert found["valid"].all() and np.array_equal(found["row"], np.arange(N))
    q = made.vae.encode(made.x, **condition)
    np.testing.assert_allclose(found["mean"], q.mean(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["scale"], q.stddev(), rtol=1e-5, atol=1e-6)
    exact = kvae.evaluate.score(made.vae, {"x": np.nan_to_num(made.x)} | condition)
    for name in ("score", "error"):
        np.testing.assert_allclose(found[name], getattr(exact, name), rtol=1e-5, atol=1e-5)
    for row in (5, 60):
        one = {"x": np.nan_to_num(made.x[row : row + 1])} | {key: v[row : row + 1] for key, v in condition.items()}
        seed = (row + GOLDEN * SEED) % 2**31
        np.testing.assert_allclose(found["elbo"][row], made.vae.elbo(one, seed=seed)[0], rtol=1e-5, atol=1e-5)
        expected = kvae.evaluate.log_likelihood_per_example(made.vae, one, samples=7, seed=seed, verbose=False)
        np.testing.assert_allclose(found["log_likelihood"][row], expected.log_likelihood[0], rtol=1e-5, atol=1e-5)
    assert len(set(found["elbo"] - found["score"])) == N  # no two rows share their noise


def test_what_is_whole_is_not_computed_again(made, tmp_path, monkeypatch):
    data, output = made.folder / "all.npz", tmp_path / "out"
    replace = os.replace

    def killed(source, target):
        if str(target).endswith("part-000002.npy"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        made.run(made.model, data, output, rows=16, seed=SEED)
    monkeypatch.undo()
    assert [path.name for path in sorted(output.glob("part*"))] == ["part-000000.npy", "part-000001.npy"]
    (output / ".part-000003.npy.1").write_bytes(b"half")  # of a process that was killed
    torn = output / "part-000001.npy"
    torn.write_bytes(torn.read_bytes()[:-1])
    before = (output / "part-000000.npy").stat()
    assert made.run(made.model, data, output, rows=16, seed=SEED)["computed"] == 3
    assert (output / "part-000000.npy").stat() == before
    assert table(output).tobytes() == made.whole.tobytes()
    assert not list(output.glob(".part*"))
    assert made.run(made.model, data, output, rows=16, seed=SEED)["computed"] == 0


def test_other_work_is_refused(made, tmp_path):
    np.save(tmp_path / "a.npy", made.x)
    data = tmp_path / "all.npz"
    data.write_bytes((made.folder / "all.npz").read_bytes())
    made.run(made.model, data, tmp_path / "out", rows=16, outputs=["embed"])
    for changed, told in (
        ({"seed": 1}, "seed=0"),
        ({"rows": 20}, "rows=16"),
        ({"outputs": ["score"]}, r"outputs=\['embed'\]"),
        ({"format": "parquet"}, "format='npy'"),
        ({"divide": 2.0}, "divide=1.0"),
    ):
        with pytest.raises(ValueError, match=rf"holds parts of other work \({told}\)"):
            made.run(made.model, data, tmp_path / "out", **({"rows": 16, "outputs": ["embed"]} | changed))
    with pytest.raises(ValueError, match=r"other work \(another model, samples=None\)"):
        made.run(made.folder / "m.keras", data, tmp_path / "out", rows=16, outputs=["embed"])
    np.savez(data, x=made.x + 0.0, condition=made.y)
    with pytest.raises(ValueError, match=r"other work \(another data\)"):
        made.run(made.model, data, tmp_path / "out", rows=16, outputs=["embed"])


def test_rows_outside_the_support(made, tmp_path, capsys):
    x, y = made.x.copy(), made.y.copy()
    x[3, 0, 0], x[20], y[50] = 2.5, np.inf, 3
    np.savez(tmp_path / "bad.npz", x=x, condition=y)
    flags = {"rows": 16, "seed": SEED}
    assert made.run(made.model, tmp_path / "bad.npz", tmp_path / "out", **flags)["invalid"] == 3
    found, bad = table(tmp_path / "out"), [3, 20, 50]
    assert list(np.flatnonzero(~found["valid"])) == bad
    for name in found.dtype.names[2:]:
        assert np.isnan(found[name][bad]).all()
        np.testing.assert_array_equal(np.delete(found[name], bad, axis=0), np.delete(made.whole[name], bad, axis=0))
    with pytest.raises(ValueError, match=r"Row 3 of .*bad.npz holds NaN, infinity or values that the likelihood does"):
        made.run(made.model, tmp_path / "bad.npz", tmp_path / "other", invalid="raise", **flags)
    np.savez(tmp_path / "pixels.npz", x=(2 + 253 * np.nan_to_num(made.x)).astype(np.uint8), condition=made.y)
    made.run(made.model, tmp_path / "pixels.npz", tmp_path / "pixels", outputs=["embed"])
    assert (
        "None of the first 8 rows is explained by the likelihood. Pixels may need --divide=255"
        in capsys.readouterr().out
    )
    assert made.run(made.model, tmp_path / "pixels.npz", tmp_path / "unit", divide=255.0)["invalid"] == 0


def test_sources_and_formats(made, tmp_path):
    """Rows of NumPy files, mapped to memory, and of Parquet, in several files: the same numbers in either format."""
    import pyarrow
    from pyarrow import parquet

    flat = made.x.reshape(N, 6)
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "x.npy", made.x)
    np.save(tmp_path / "arrays" / "condition.npy", np.eye(3)[made.y])
    np.save(tmp_path / "arrays" / "mask.npy", ~np.isnan(made.x))
    columns = {f"c{i}": pyarrow.array(flat[:, i], from_pandas=True) for i in range(6)}
    tables = {
        "columns": pyarrow.table({**columns, "condition": made.y}),
        "lists": pyarrow.table({"x": flat.tolist(), "condition": made.y}),
    }
    for name, one in tables.items():
        (tmp_path / name).mkdir()
        parquet.write_table(one[:20], tmp_path / name / "1.parquet", row_group_size=9)
        parquet.write_table(one[20:], tmp_path / name / "2.parquet")
    for name in ("arrays", "columns", "lists"):
        made.run(made.model, tmp_path / name, tmp_path / f"{name}-out", rows=25, seed=SEED)
        assert table(tmp_path / f"{name}-out").tobytes() == made.whole.tobytes()
    made.run(made.model, tmp_path / "arrays", tmp_path / "parquet", rows=25, seed=SEED, format="parquet")
    assert_holds(tmp_path / "parquet", made.whole)
    assert (
        made.run(made.model, tmp_path / "arrays", tmp_path / "parquet", rows=25, seed=SEED, format="parquet")[
            "computed"
        ]
        == 0
    )


def assert_holds(folder, expected):
    """Parquet files, read as others read them."""
    from pyarrow import dataset

    found = dataset.dataset(folder).to_table().sort_by("row")
    assert set(found.column_names) == set(expected.dtype.names)
    for name in expected.dtype.names:
        values = np.array(found[name].to_pylist(), expected[name].dtype)
        np.testing.assert_array_equal(values, expected[name])


def test_parts_of_x_in_several_files(tmp_path):
    rows = program("row_files")
    x = np.arange(30.0).reshape(10, 3)
    for i, part in enumerate(np.split(x, [4, 5])):
        np.save(tmp_path / f"{i}.npy", part)
    found = rows.opened(tmp_path)
    assert found.count == 10 and all(isinstance(part, np.memmap) for part in found.parts["x"])
    for first, last in ((0, 10), (3, 6), (4, 5), (5, 10), (9, 10)):
        np.testing.assert_array_equal(found.read(first, last)["x"], x[first:last])


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"data": "none.npy"}, "There is no none.npy. Check the path."),
        ({"data": "a.csv"}, r"a.csv is no .npy, .npz or .parquet file"),
        ({"data": "empty"}, r"empty must hold either .npy or .parquet files"),
        ({"data": "other.npz"}, r"other.npz holds the arrays \['rows'\]. Say which is x: --name=rows."),
        ({"data": "uneven.npz"}, "There are 2 rows of x, but 3 of mask. Give as many of each."),
        ({"data": "torn.npy"}, "torn.npy is not a whole .npy file of numbers"),
        ({"data": "words.parquet"}, "The column 'word' holds string, no numbers."),
        ({"data": "ragged.parquet"}, "The lists in the column 'x' have different lengths"),
        ({"data": "no_condition.npy"}, "The model takes a condition, and .* has none"),
        ({"data": "narrow.npz"}, r"The model takes x of shape \(3, 2\), .* has \(5,\)"),
        ({"data": "no_rows.npy"}, "no_rows.npy holds no rows"),
        ({"outputs": ["codes"]}, "--outputs takes some of embed, score, log_likelihood, got codes."),
        ({"samples": 3}, "--samples goes with a .keras file"),
        ({"model": "none.keras"}, "There is no none.keras. Give a .keras file or"),
        ({"model": "empty"}, "empty is no SavedModel. Give the folder of a version"),
    ],
)
def test_wrong_data_are_a_sentence(flags, message, made, tmp_path, monkeypatch):
    import pyarrow
    from pyarrow import parquet

    monkeypatch.chdir(tmp_path)
    pathlib.Path("a.csv").write_text("1,2")
    pathlib.Path("empty").mkdir()
    np.savez("other.npz", rows=made.x)
    np.savez("uneven.npz", x=made.x[:2], mask=made.x[:3])
    np.savez("narrow.npz", x=np.ones((4, 5)), condition=made.y[:4])
    np.save("no_condition.npy", made.x)
    np.save("no_rows.npy", made.x[:0])
    pathlib.Path("torn.npy").write_bytes(pathlib.Path("no_condition.npy").read_bytes()[:-1])
    parquet.write_table(pyarrow.table({"word": ["a"]}), "words.parquet")
    parquet.write_table(pyarrow.table({"x": [[1.0], [1.0, 2.0]]}), "ragged.parquet")
    given = {"model": made.model, "data": made.folder / "all.npz", "outputs": ["embed"]} | flags
    with pytest.raises((ValueError, OSError), match=message):
        made.run(given.pop("model"), given.pop("data"), "out", **given)
    assert not pathlib.Path("out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("engine, workers", [("dask", 2), ("ray", 1)])
def test_engines_change_nothing(engine, workers, made, tmp_path, monkeypatch):
    """In processes of their own, three parts, bit for bit."""
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")  # Ray waits where other programs fill the memory
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"needs {engine}")
    flags = [f"--model={made.model}", f"--data={made.folder / 'all.npz'}", "--output=out", f"--engine={engine}"]
    flags += ["--rows=25", "--batch_size=8", f"--seed={SEED}", "--format=parquet", f"--workers={workers}"]
    done = ended("score", *flags, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rows a second") == 3
    assert_holds(tmp_path / "out", made.whole)

"""The example programs."""

import dataclasses
import importlib.util
import inspect
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import kvae

ROOT = pathlib.Path(__file__).resolve().parent.parent


def program(name):
    """The module of a program."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def command(name, *arguments):
    """The command line that runs a program."""
    return [sys.executable, str(ROOT / "examples" / f"{name}.py"), *map(str, arguments)]


def ended(name, *arguments, folder):
    """A program that has run in a folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        command(name, *arguments), cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


class ExampleTest(tf.test.TestCase):
    def program(self, name):
        return program(name)

    @pytest.mark.slow
    def test_train_writes_everything_and_resumes(self):
        train = self.program("train")
        path = pathlib.Path(self.create_tempdir().full_path)

        def run(epochs, **other):
            config = train.Config(
                epochs=epochs, latent_dim=2, importance_samples=20, batch_size=300, hidden=(10,), verbose=0,
                output=str(path / "run"), saved_models=str(path / "saved_models"), **other,
            )  # fmt: skip
            return train.run(config)

        first = run(2)
        second = run(3)
        history = json.loads((path / "run" / "history.json").read_text())
        self.assertLen(history["val_elbo"], 3)
        self.assertGreater(second["elbo"].mean, first["elbo"].mean)
        card = json.loads((path / "run" / "model_card.json").read_text())
        self.assertEqual((card["epochs"], card["seed"], card["flags"]["epochs"]), (3, 0, 3))
        self.assertAllClose(card["results"]["log_likelihood"]["mean"], second["log_likelihood"].mean)
        self.assertLen(card["data"]["sha256"], 64)
        self.assertLess(second["independent_pixels"].mean, -20)
        figures = "reconstructions", "worst", "samples", "latents", "interpolations", "posteriors", "kl", "curves"
        for name in (*(f"{figure}.png" for figure in figures), "training.gif"):
            self.assertGreater((path / "run" / name).stat().st_size, 3000)
        self.assertStartsWith(card["diagnosis"], "Under-trained")
        served = tf.saved_model.load(str(path / "saved_models" / "digits" / "2"))
        self.assertEqual(served.signatures["sample"](seed=[1, 2])["mean"].shape, [2, 8, 8, 1])
        again = kvae.load_model(path / "run" / "model.keras")
        self.assertEqual((int(again.passes), int(again.optimizer.iterations)), (3, 15))
        with self.assertRaisesRegex(ValueError, "other flags \\(beta=1.0\\)"):
            run(4, beta=2.0)
        before = {file: file.is_file() and file.stat().st_mtime_ns for file in path.rglob("*")}
        self.assertEqual(run(3), second)  # finished: nothing is written
        after = {file: file.is_file() and file.stat().st_mtime_ns for file in path.rglob("*")}
        self.assertEqual(after, before)
        self.other_programs(path, second)

    def other_programs(self, path, results):
        """evaluate.py finds the same numbers, compare.py the differences, sample.py draws, export.py adds a version."""
        model = str(path / "run" / "model.keras")
        table = self.program("evaluate").run(
            run=str(path / "run"), importance_samples=20, output=str(path / "table.json")
        )
        self.assertEqual({name: table[name] for name in results}, results)
        self.assertLessEqual(set(results) | {"mutual_information", "marginal_kl", "cap", "15_neighbours"}, set(table))
        written = json.loads((path / "table.json").read_text())
        self.assertEqual(written["log_likelihood"]["mean"], results["log_likelihood"].mean)
        untrained = kvae.VAE(*kvae.networks.mlp((8, 8, 1), 2), likelihood="bernoulli")
        untrained.save(path / "untrained.keras")
        found = self.program("compare").run(
            [str(path / "run")],
            [str(path / "untrained.keras")],
            importance_samples=20,
            output=str(path / "compared.json"),
        )
        self.assertEqual(found.summaries[str(path / "run")]["elbo"], results["elbo"])
        written = json.loads((path / "compared.json").read_text())
        difference = written["differences"][str(path / "untrained.keras")]["log_likelihood"]["mean"]
        values = [table["log_likelihood"].mean for table in found.summaries.values()]
        self.assertAllClose(difference, values[1] - values[0], atol=1e-9)
        self.assertLess(difference, 0.0)
        drawn = self.program("sample").run(model, n=3, seed=5, output=str(path / "drawn"))
        self.assertAllEqual(drawn, kvae.load_model(model).sample(3, seed=5))
        self.assertAllEqual(np.load(path / "drawn.npz")["x"], drawn)
        self.assertGreater((path / "drawn.png").stat().st_size, 1000)
        version = self.program("export").run(model, str(path / "saved_models" / "digits"))
        self.assertEqual(version, str(path / "saved_models" / "digits" / "3"))


def test_compress_gives_files_and_folders_back(tmp_path, capsys):
    compress = program("compress")
    vae = kvae.VAE(*kvae.networks.mlp((6,), 2, hidden=(4,)), likelihood="bernoulli")
    vae.save(tmp_path / "m.keras")
    arrays = {"a.npy": (40, np.uint8), "deep/b.npy": (3, np.float32), "deep/c.d.npy": (1, bool)}
    for name, (n, dtype) in arrays.items():
        (tmp_path / "arrays" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "arrays" / name, np.random.default_rng(n).integers(0, 2, (n, 6)).astype(dtype))
    model, packed, again = str(tmp_path / "m.keras"), tmp_path / "packed", tmp_path / "again"
    written = compress.run(model, encode=str(tmp_path / "arrays"), output=str(packed))
    assert written == [packed / "a.kvae", packed / "deep" / "b.kvae", packed / "deep" / "c.d.kvae"]
    assert "1 of 3: " in capsys.readouterr().out
    compress.run(model, decode=str(packed), output=str(again))
    for name in arrays:
        assert (again / name).read_bytes() == (tmp_path / "arrays" / name).read_bytes()
    assert compress.run(model, decode=str(packed / "a.kvae"), output=str(tmp_path / "x.npy")) == [tmp_path / "x.npy"]
    assert (tmp_path / "x.npy").read_bytes() == (again / "a.npy").read_bytes()
    (packed / "a.kvae").write_bytes((packed / "a.kvae").read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a\.kvae: The block .* is damaged"):
        compress.run(model, decode=str(packed / "a.kvae"), output=str(tmp_path / "y.npy"))
    assert not (tmp_path / "y.npy").exists()
    (tmp_path / "torn.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"torn\.npy is not a whole \.npy file"):
        compress.run(model, encode=str(tmp_path / "torn.npy"), output=str(tmp_path / "z.kvae"))


def test_compress_leaves_no_half_of_a_file(tmp_path):
    def full(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "a.kvae").write_bytes(b"before")
    with pytest.raises(OSError, match="No space left"):
        program("command_line").write_whole(tmp_path / "a.kvae", full)
    assert [path.name for path in tmp_path.iterdir()] == ["a.kvae"]
    assert (tmp_path / "a.kvae").read_bytes() == b"before"


def argument_names(name) -> set[str]:
    """What a program's flags are for."""
    module = program(name)
    if name in ("train", "dynamics"):
        return {field.name for field in dataclasses.fields(module.Config)}
    return set(inspect.signature(module.run).parameters)


@pytest.mark.slow
def test_anomaly_finds_malignant_cells(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = program("anomaly").run(epochs=60, samples=5, saved_models="models")
    assert found["auroc"] > 0.9 and found["found"] > 0.6 > 0.25 > found["false_alarms"]
    detector = kvae.anomaly.Detector.load("runs/cells/detector.keras")
    assert (detector.kind, len(detector.calibration.scores)) == ("elbo", 89)
    assert "p_value" in tf.saved_model.load("models/1").signatures["score"].structured_outputs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The effective sample size")
def test_table_is_filled_in_better_than_by_means(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = program("table").run(epochs=100, samples=50, saved_models="models")
    assert found["vae"] < 0.7 * found["mean"]
    columns = kvae.data.Table.of(kvae.load_model("runs/table/model.keras")).columns
    assert [column.kind for column in columns[-2:]] == ["ordinal", "binary"]
    assert len((tmp_path / "runs/table/filled.csv").read_text().splitlines()) == 570
    assert "elbo" in tf.saved_model.load("models/1").signatures["score"].structured_outputs


@pytest.mark.parametrize("given", [{"alpha": 0.01}, {"alpha": 0.0}, {"alpha": 1.0}, {"fdr": 0.0}, {"fdr": 1.0}])
def test_anomaly_checks_its_levels_before_it_trains(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kvae.VAE, "fit", lambda *_, **__: pytest.fail("It trains."))
    with pytest.raises(ValueError, match=r"alpha=0.01 is below 1 / 90|alpha must|fdr must"):
        program("anomaly").run(**given)


@pytest.mark.parametrize(
    "name",
    [
        *("train", "evaluate", "compare", "sample", "export", "anomaly", "dynamics", "compress", "table"),
        *("large", "score"),
        *(f"documents/{name}" for name in ("autoencoder", "beta_and_k", "code_length", "decoder_scale")),
    ],
)
def test_help_lists_every_flag(name, tmp_path):
    text = ended(name, "--help", folder=tmp_path).stdout
    assert set(re.findall(r"^  --(?:\[no\])?(\w+)", text, flags=re.MULTILINE)) == argument_names(name)
    if name in ("train", "evaluate", "compare"):
        words = " ".join(re.search(r"--dataset:(.*?)\n  --", text, flags=re.DOTALL)[1].split())
        assert "a folder (of images" in words and ".npz" in words and "tensorflow-datasets" in words


@pytest.mark.parametrize("name, arguments, message", [
    ("train", ("--epochs", 0), "flag --epochs=0: 0 is not a positive integer"),
    ("train", ("--network", "cnn"), "value should be one of <mlp|conv|resnet>"),
    ("train", ("--beta", "x"), "flag --beta=x"),
    ("train", ("--hidden", "a,b"), "--hidden takes whole numbers, such as 64,64, got a,b."),
    ("train", ("digits",), "Not a flag: digits"),
    ("train", ("--output", "file/run"), "train.py: file/run cannot be written to: "),
    ("train", ("--saved_models", "file"), "train.py: file cannot be written to: "),
    ("evaluate", (), "Give --run, or --model and --dataset."),
    ("evaluate", ("--run", "r", "--output", "file/table.json"), "evaluate.py: file cannot be written to"),
    ("compare", ("--runs", "a", "--part", "all"), "value should be one of <train|validation|test>"),
    ("sample", ("--model", "m.keras", "--n", 0), "flag --n=0"),
    ("dynamics", ("--flow", "wake"), "value should be one of <heat|advection|burgers|"),
    ("dynamics", ("--output", "file/run"), "dynamics.py: file/run cannot be written to: "),
    ("export", ("--model", "m.keras", "--saved_models", "file"), "export.py: file cannot be written to"),
    ("anomaly", ("--output", "file/detector.keras"), "anomaly.py: file cannot be written to"),
    ("anomaly", ("--score", "likelihood"), "value should be one of <log_likelihood|elbo|reconstruction|typicality>"),
    ("table", ("--output", "file/run"), "table.py: file/run cannot be written to: "),
    ("large", ("--folder", "file/data"), "large.py: file/data cannot be written to: "),
    ("compress", ("--model", "m.keras", "--output", "o"), "Give one of --encode and --decode."),
    ("compress", ("--model", "m.keras", "--encode", "a.npy", "--output", "o"), "compress.py: There is no a.npy. Giv"),
    ("score", ("--model", "m", "--data", "x.npy", "--output", "file"), "score.py: file cannot be written to"),
    ("score", ("--model", "m", "--data", "x.npy", "--output", "o"), "score.py: There is no x.npy. Check the path."),
    ("documents/beta_and_k", ("--hidden", "a"), "--hidden takes whole numbers, such as 64,64, got a."),
    ("documents/code_length", ("--output", "file/run"), "code_length.py: file/run cannot be written to: "),
])  # fmt: skip
def test_wrong_flags_are_a_sentence(name, arguments, message, tmp_path):
    (tmp_path / "file").write_text("")
    found = ended(name, *arguments, folder=tmp_path)
    assert found.returncode == 1 and message in found.stderr + found.stdout
    assert "Traceback" not in found.stderr
    assert sorted(os.listdir(tmp_path)) == ["file"]


@pytest.mark.slow
def test_errors_of_kvae_are_a_sentence(tmp_path):
    found = ended("train", "--dataset", "photo", folder=tmp_path)
    assert found.returncode == 1 and "train.py: There is no data set 'photo'. kvae reads" in found.stderr
    assert "Traceback" not in found.stderr and os.listdir(tmp_path) == []


def loaded(**flags):
    train = program("train")  # puts the folder of the programs on the path
    import building

    data, config = building.data_of(train.Config(**flags))
    return config.likelihood, config.binarize, data.support.name, data.train.dynamic


def test_the_likelihood_follows_the_data(tmp_path):
    random = np.random.default_rng(0)
    photos, pages = tmp_path / "photos", tmp_path / "pages.npz"
    photos.mkdir()
    for i in range(10):
        image = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        (photos / f"{i}.png").write_bytes(tf.io.encode_png(image).numpy())
    np.savez(pages, x_train=random.integers(0, 2, (20, 4)).astype(np.uint8))
    np.savez(tmp_path / "table.npz", x_train=random.normal(size=(20, 4)))
    photos, pages, table = map(str, (photos, pages, tmp_path / "table.npz"))
    unit, binary = "[0, 1]", "{0, 1}"
    for flags, expected in (
        ({}, ("bernoulli", "dynamic", binary, True)),  # the digits, as the README says
        ({"likelihood": "bernoulli"}, ("bernoulli", "dynamic", binary, True)),
        ({"likelihood": "normal"}, ("normal", "none", unit, False)),
        ({"binarize": "none"}, ("continuous_bernoulli", "none", unit, False)),
        ({"dataset": photos}, ("continuous_bernoulli", "none", unit, False)),
        ({"dataset": photos, "binarize": "static"}, ("bernoulli", "static", binary, False)),
        ({"dataset": photos, "likelihood": "normal"}, ("normal", "none", unit, False)),
        ({"dataset": pages}, ("bernoulli", "none", binary, False)),
        ({"dataset": pages, "likelihood": "bernoulli"}, ("bernoulli", "none", binary, False)),
        ({"dataset": table}, ("normal", "none", "the real numbers", False)),
    ):
        assert loaded(**flags) == expected
    for dataset, values in ((photos, r"\[0, 1\]"), (table, "the real numbers")):
        with pytest.raises(ValueError, match=rf"in {values}, but --likelihood=bernoulli explains 0 and 1.*--binarize"):
            loaded(dataset=dataset, likelihood="bernoulli")


def test_output_is_named_by_the_data(tmp_path):
    train = program("train")
    (tmp_path / "my photos.v2").mkdir()
    for dataset, name in (
        ("digits", "digits"),
        ("some/where/images.npz", "images"),
        (f"{tmp_path}/my photos.v2/", "my_photos.v2"),
        ("mnist:3.0.1", "mnist_3.0.1"),
        ("/", "data"),
    ):
        assert train.output_folder(train.Config(dataset=dataset)) == pathlib.Path("runs", name)
    assert train.output_folder(train.Config(output="here")) == pathlib.Path("here")


def test_interrupted(capsys):
    """Ctrl-C, wherever the job is: one line and status 130."""
    program("train")  # puts the folder of the programs on the path
    import command_line
    from absl import flags

    def job():
        raise KeyboardInterrupt

    flags.FLAGS(["program"])
    with pytest.raises(SystemExit) as caught:
        command_line.start(["program"], job, lambda: "Stopped. Go on so.")
    assert caught.value.code == 130 and capsys.readouterr().err == "\nStopped. Go on so.\n"


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_training_goes_on(tmp_path, number, status):
    """Meanwhile its folder is locked for another one."""
    arguments = ("--epochs", 100000, "--latent_dim", 2, "--hidden", 8, "--verbose", 0)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        command("train", *arguments), cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    model = tmp_path / "runs" / "digits" / "model.keras"
    begun = time.monotonic()
    while not model.exists() and time.monotonic() - begun < 200 and process.poll() is None:
        time.sleep(0.1)
    if number == signal.SIGINT:
        other = ended("train", *arguments, folder=tmp_path)
        assert other.returncode == 1 and f"runs/digits is in use by process {process.pid} on " in other.stderr
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status and "Traceback" not in errors
    assert "Stopped. To go on from the last checkpoint in runs/digits, give the same flags again." in errors
    assert int(kvae.load_model(model).passes) >= 1
    assert sorted(path.name for path in model.parent.iterdir()) == ["config.json", "history.json", "model.keras"]


@pytest.mark.slow
def test_large_data_take_a_tenth_of_their_size(tmp_path):
    """In a process of its own: 120 MB of rows, and after compilation less than 12 MB of memory; then it goes on."""
    flags = ("--megabytes=120", "--batch_size=2048", "--hidden=8", "--latent_dim=2", "--verbose=0")
    found = ended("large", *flags, "--epochs=3", folder=tmp_path)
    assert found.returncode == 0, found.stderr[-3000:]
    rows = re.findall(r"Epoch (\d) took (\d+) MB of memory for 120 MB of data", found.stdout)
    assert [number for number, _ in rows] == ["1", "2", "3"] and int(rows[2][1]) < 12, found.stdout
    assert len(list((tmp_path / "runs/large/data").glob("x_train-*-of-00004.npy"))) == 4
    assert int(kvae.load_model(tmp_path / "runs/large/model.keras").passes) == 3


@pytest.mark.slow
def test_dynamics(tmp_path, capsys):
    """Waves that travel, by a linear transition: forecasts that persistence does not give, of a model that is kept."""
    module = program("dynamics")
    flags = {"flow": "advection", "steps": 60, "latent_dim": 6, "transition": "linear", "horizon": 1}
    found = module.run(module.Config(**flags, vae_epochs=8, samples=20, output=str(tmp_path), verbose=0))
    assert found["Dynamics"][19].mean < 0.4 * found["persistence"][19].mean
    assert found["DMD, 6 modes"][49].mean < 1e-4 and "eigenvalues:" in capsys.readouterr().out
    model = kvae.load_model(tmp_path / "model.keras")
    x = kvae.dynamics.flows.advection(256, 60)[-32:]  # the test part
    error = kvae.dynamics.forecast_error(model.rollout(x[:, 0], 59, samples=0)[0], x[:, 1:])
    np.testing.assert_allclose([one.mean for one in error], [one.mean for one in found["Dynamics"]], rtol=1e-5)
    assert (tmp_path / "saved_model" / "1" / "saved_model.pb").exists()
    figures = [f"{name}.png" for name in ("codes", "errors", "moves", "spectrum")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*figures, "film.gif", "model.keras", "saved_model"]
    )
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 59

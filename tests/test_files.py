"""Files: checkpoints, fresh processes, the main job, the README, the architecture."""

import ast
import contextlib
import importlib.util
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvae
from tests.conformance import examples, make_vae

ROOT = pathlib.Path(__file__).resolve().parent.parent


def python(code, **environment):
    command = ["timeout", "-k", "5", "120", sys.executable, "-c", textwrap.dedent(code)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


class CheckpointTest(tf.test.TestCase):
    def test_every_epoch_and_the_end(self):
        path = pathlib.Path(self.create_tempdir().full_path, "model.keras")
        vae = make_vae()
        x = examples(vae.likelihood, (6,))
        saved = []
        watch = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: saved.append(int(kvae.load_model(path).passes))
        )
        vae.fit(x, epochs=3, verbose=0, callbacks=[kvae.callbacks.Checkpoint(path), watch])
        self.assertEqual(saved, [1, 2, 3])
        late = kvae.callbacks.Checkpoint(path, seconds=1e6)
        vae.fit(x, epochs=3, verbose=0, callbacks=[late])
        self.assertEqual(int(kvae.load_model(path).passes), 6)
        self.assertEqual(os.listdir(path.parent), ["model.keras"])
        with self.assertRaisesRegex(ValueError, "ends in .keras"):
            kvae.callbacks.Checkpoint("model.h5")

    def test_a_failed_save_keeps_the_old_file(self):
        path = pathlib.Path(self.create_tempdir().full_path, "model.keras")
        vae = make_vae(objective=lambda: kvae.objectives.ELBO(beta=lambda step: 1.0))
        path.write_text("old")
        with self.assertRaises(ValueError):
            vae.fit(examples(vae.likelihood, (6,)), verbose=0, callbacks=[kvae.callbacks.Checkpoint(path)])
        self.assertEqual((path.read_text(), os.listdir(path.parent)), ("old", ["model.keras"]))

    def test_sigterm_saves_and_exits(self):
        """In the middle of an epoch; continued, the model ends as one that was not told to end."""
        path = pathlib.Path(self.create_tempdir().full_path, "model.keras")
        x = examples(make_vae().likelihood, (6,), n=48)
        through = make_vae()
        through.fit(x, batch_size=8, epochs=3, verbose=0)

        class Terminate(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                if int(self.model.optimizer.iterations) == 9:
                    os.kill(os.getpid(), signal.SIGTERM)

        before = signal.getsignal(signal.SIGTERM)
        with self.assertRaises(SystemExit) as raised:
            checkpoint = kvae.callbacks.Checkpoint(path, on_sigterm=True)
            make_vae().fit(x, batch_size=8, epochs=3, verbose=0, callbacks=[checkpoint, Terminate()])
        self.assertEqual(raised.exception.code, 143)
        self.assertEqual(signal.getsignal(signal.SIGTERM), before)
        again = kvae.load_model(path)
        self.assertEqual((int(again.passes), int(again.position)), (1, 4))
        again.fit(x, batch_size=8, epochs=3, initial_epoch=1, verbose=0)
        for a, b in zip(again.weights, through.weights, strict=True):
            self.assertAllEqual(a, b)

    def test_the_handler_is_given_back(self):
        path = pathlib.Path(self.create_tempdir().full_path, "model.keras")
        before = signal.getsignal(signal.SIGTERM)
        vae = make_vae()
        checkpoint = kvae.callbacks.Checkpoint(path, on_sigterm=True)
        vae.fit(examples(vae.likelihood, (6,)), verbose=0, callbacks=[checkpoint])
        self.assertEqual(signal.getsignal(signal.SIGTERM), before)
        stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0)
        with self.assertRaises(ZeroDivisionError):
            vae.fit(examples(vae.likelihood, (6,)), verbose=0, callbacks=[checkpoint, stop])
        self.assertEqual(signal.getsignal(signal.SIGTERM), before)

    def test_best(self):
        """The best epoch is kept, also by a fit after a restart; another log begins anew."""
        path = pathlib.Path(self.create_tempdir().full_path, "best.keras")
        vae = make_vae()

        def go(values, monitor):
            best = kvae.callbacks.BestCheckpoint(path, monitor)
            best.set_model(vae)
            best.on_train_begin()
            for epoch, value in enumerate(values):
                vae.draws.assign(int(1000 * value + 10_000))  # to tell the saved models apart
                best.on_epoch_end(epoch, {monitor: value})
                best.on_epoch_end(epoch, {monitor: math.nan})
            return (int(kvae.load_model(path).draws) - 10_000) / 1000, best.best

        self.assertEqual(go([-5.0, -3.0, -4.0], "val_elbo"), (-3.0, -3.0))
        self.assertEqual(go([-3.5, -3.1], "val_elbo"), (-3.0, -3.0))
        self.assertEqual(go([-2.0, -2.5], "val_elbo"), (-2.0, -2.0))
        self.assertEqual(go([7.0, 5.0, 6.0], "val_loss"), (5.0, 5.0))
        self.assertEqual(go([9.0, 3.0, 2.0, 4.0], "val_kl"), (2.0, 2.0))
        self.assertEqual(os.listdir(path.parent), ["best.keras"])
        x = examples(vae.likelihood, (6,))
        with self.assertRaisesRegex(ValueError, "monitors 'val_elbo', but the logs of this fit are"):
            vae.fit(x, verbose=0, callbacks=[kvae.callbacks.BestCheckpoint(path)])


class EnvironmentTest(tf.test.TestCase):
    HEAVY = {"matplotlib", "sklearn", "tensorflow_datasets"}

    def test_import_does_not_need_the_heavy_packages(self):
        """Keras itself imports scikit-learn and Matplotlib where they are installed; so they are blocked here."""
        done = python(f"""
            import sys

            class Block:
                def find_spec(self, name, path=None, target=None):
                    if name.split(".")[0] in {self.HEAVY}:
                        raise ImportError("blocked: " + name)

            sys.meta_path.insert(0, Block())
            import kvae
        """)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_module_imports_them_at_the_top(self):
        for path in (ROOT / "kvae").glob("*.py"):
            for node in ast.parse(path.read_text()).body:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
                self.assertFalse(self.HEAVY & {str(name).split(".")[0] for name in names}, path.name)

    def test_missing_tf_keras(self):
        done = python("""
            import importlib.util, sys
            find = importlib.util.find_spec
            importlib.util.find_spec = lambda name, *a: None if name == "tf_keras" else find(name, *a)
            import kvae
        """)
        self.assertNotEqual(done.returncode, 0)
        last = done.stderr.strip().splitlines()[-1]
        self.assertRegex(
            last, r'ImportError: .*tf_keras, which is not installed. Mend it with: pip install "tf_keras>='
        )

    def test_tf_keras_of_another_version(self):
        done = python("""
            from importlib import metadata
            version = metadata.version
            metadata.version = lambda name: "2.16.0" if name == "tf_keras" else version(name)
            import kvae
        """)
        self.assertRegex(
            done.stderr.strip().splitlines()[-1], r"ImportError: tf_keras 2.16 does not fit tensorflow 2.21"
        )

    def test_other_backend(self):
        done = python("import kvae", KERAS_BACKEND="jax")
        self.assertRegex(done.stderr.strip().splitlines()[-1], "ImportError: kvae runs on Keras' TensorFlow backend")
        done = python("""
            import keras
            keras.config.backend = lambda: "torch"
            import kvae
        """)
        self.assertRegex(done.stderr.strip().splitlines()[-1], "ImportError: .*set up for 'torch'")


class ExampleTest(tf.test.TestCase):
    def program(self, name):
        spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

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


class ReadmeTest(tf.test.TestCase):
    def blocks(self, language, file="README.md"):
        return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), flags=re.DOTALL)

    def test_commands_are_one_line_each(self):
        commands = [line for block in self.blocks("sh") for line in block.strip().splitlines()]
        self.assertLen([c for c in commands if "examples/train.py" in c], 1)
        self.assertLen([c for c in commands if "pytest" in c], 1)

    def test_python_runs(self):
        for block in self.blocks("python"):
            names: dict = {}
            with contextlib.chdir(self.create_tempdir().full_path):
                exec(compile(block.replace("epochs=100", "epochs=2"), "README.md", "exec"), names)
            self.assertTrue(np.isfinite(names["estimate"].mean))

    @pytest.mark.slow
    def test_python_of_the_evaluation_runs(self):
        (block,) = self.blocks("python", "docs/evaluation.md")
        names: dict = {}
        with contextlib.chdir(self.create_tempdir().full_path):
            exec(compile(re.sub(r"(epochs|steps|every)=\d+", r"\1=1", block), "evaluation.md", "exec"), names)
            self.assertEqual(sorted(os.listdir()), ["curve.png", "kl.png", "worst.png"])
        self.assertLess(names["importance"].mean, -27)

    @pytest.mark.slow
    def test_python_of_the_recipes_runs(self):
        names: dict = {}
        for block in self.blocks("python", "docs/training.md"):
            exec(compile(re.sub(r"epochs=\d+", "epochs=1", block), "training.md", "exec"), names)
        self.assertTrue(np.isfinite(names["calibration"]))
        self.assertFalse(names["autoencoder"].posterior.has_density)


class ArchitectureTest(tf.test.TestCase):
    """Imports run one way: a module imports only from those above it."""

    ORDER = (
        "_requirements", "counts", "support", "series", "parts", "batch", "conditions", "noise", "distributions",
        "divergences", "projection", "families", "splits", "posteriors", "likelihoods", "priors", "schedules",
        "objectives", "networks", "plots", "sources", "data", "feed", "trackers", "watch", "programs", "pace",
        "loop", "trainer", "model", "resolve", "importance", "endpoints", "warmup", "export", "vae", "saving",
        "estimates", "disentanglement", "baseline", "residuals", "codes", "progress", "aggregate", "dimensions",
        "scan", "annealing", "bounds", "gaps", "diagnosis", "evaluate", "callbacks", "__init__",
    )  # fmt: skip
    LEAVES = {"networks": {"__init__"}, "plots": {"__init__"}}

    def test_imports(self):
        files = {path.stem: path for path in (ROOT / "kvae").glob("*.py")}
        self.assertEqual(set(files), set(self.ORDER))
        for name, path in files.items():
            text = path.read_text()
            self.assertLessEqual(len(text.splitlines()), 300, f"{name}.py holds two things")
            for node in ast.walk(ast.parse(text)):
                imported = []
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kvae":
                    imported = [node.module.split(".")[1]] if "." in node.module else [a.name for a in node.names]
                elif isinstance(node, ast.Import):
                    imported = [a.name.split(".")[1] for a in node.names if a.name.startswith("kvae.")]
                for other in imported:
                    self.assertLess(self.ORDER.index(other), self.ORDER.index(name), f"{name} imports {other}")
                    self.assertIn(name, self.LEAVES.get(other, {name}))

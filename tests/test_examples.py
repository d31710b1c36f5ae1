"""The example programs."""

import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf

import kvae

ROOT = pathlib.Path(__file__).resolve().parent.parent


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

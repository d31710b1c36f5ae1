"""The README and the documents: their commands and their code."""

import os
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance import inside

ROOT = pathlib.Path(__file__).resolve().parent.parent


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
            with inside(self.create_tempdir().full_path):
                exec(compile(block.replace("epochs=100", "epochs=2"), "README.md", "exec"), names)
            self.assertTrue(np.isfinite(names["estimate"].mean))

    @pytest.mark.slow
    def test_python_of_the_evaluation_runs(self):
        (block,) = self.blocks("python", "docs/evaluation.md")
        names: dict = {}
        with inside(self.create_tempdir().full_path):
            exec(compile(re.sub(r"(epochs|steps|every)=\d+", r"\1=1", block), "evaluation.md", "exec"), names)
            self.assertEqual(sorted(os.listdir()), ["curve.png", "kl.png", "worst.png"])
        self.assertLess(names["importance"].mean, -27)

    @pytest.mark.slow
    def test_python_of_the_compression_runs(self):
        (block,) = self.blocks("python", "docs/compression.md")
        names: dict = {}
        exec(compile(re.sub(r"epochs=\d+", "epochs=1", block), "compression.md", "exec"), names)
        self.assertAllEqual(names["x"], names["data"].test.x)
        self.assertEqual(names["x"].dtype, np.uint8)

    @pytest.mark.slow
    def test_python_of_the_recipes_runs(self):
        names: dict = {}
        for block in self.blocks("python", "docs/training.md"):
            exec(compile(re.sub(r"epochs=\d+", "epochs=1", block), "training.md", "exec"), names)
        self.assertTrue(np.isfinite(names["calibration"]))
        self.assertFalse(names["autoencoder"].posterior.has_density)
        self.assertEqual(names["bits"].unit, "bits/dim")
        self.assertTrue(np.isin(names["likely"], np.arange(4)).all())

    @pytest.mark.slow
    def test_python_of_the_anomalies_runs(self):
        names: dict = {}
        with inside(self.create_tempdir().full_path):
            for block in self.blocks("python", "docs/anomalies.md"):
                exec(compile(block, "anomalies.md", "exec"), names)
            self.assertEqual(sorted(os.listdir()), ["detector.keras", "saved_models"])
        self.assertGreater(names["chosen"][400:].mean(), 0.5)
        self.assertTrue(np.isin(names["alarms"], (-1, 1)).all())

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:The effective sample size")
    def test_python_of_the_tables_runs(self):
        (block,) = self.blocks("python", "docs/tables.md")
        names: dict = {}
        with inside(self.create_tempdir().full_path):
            exec(compile(block, "tables.md", "exec"), names)
            self.assertEqual(sorted(os.listdir()), ["people.keras", "saved_models"])
        self.assertFalse(names["filled"].isna().any(axis=None))
        self.assertAllEqual(names["filled"].dtypes, names["drawn"].dtypes)
        self.assertLess(names["errors"].error["vae"], names["errors"].error["mean"])

    @pytest.mark.slow
    def test_python_of_the_dynamics_runs(self):
        (block,) = self.blocks("python", "docs/dynamics.md")
        names: dict = {}
        block = re.sub(r"epochs=\d+", "epochs=1", block).replace("trajectories=256, steps=160", "256, 160, transient=5")
        with inside(self.create_tempdir().full_path):
            exec(compile(block, "dynamics.md", "exec"), names)
            self.assertEqual(sorted(os.listdir()), ["dynamics", "dynamics.keras"])
        self.assertEqual(names["forecast"].shape, (50, 32, 150, 64))
        self.assertGreater(names["time"].mean, 0)

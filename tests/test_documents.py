"""The README and the documents: their commands and their code."""

import os
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

import kvae
from tests.conformance import inside, state, without_xla

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
    @without_xla()
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
    @without_xla()
    def test_python_of_the_recipes_runs(self):
        names: dict = {}
        for block in self.blocks("python", "docs/training.md"):
            exec(compile(re.sub(r"epochs=\d+", "epochs=1", block), "training.md", "exec"), names)
        self.assertTrue(np.isfinite(names["calibration"]))
        self.assertFalse(names["autoencoder"].posterior.has_density)
        self.assertEqual(names["bits"].unit, "bits/dim")
        self.assertTrue(np.isin(names["likely"], np.arange(4)).all())

    @pytest.mark.slow
    def test_python_of_the_large_data_runs(self):
        """A run over TFRecord files that goes on from its file at the end of an epoch is one without a break."""
        first, second = self.blocks("python", "docs/large_data.md")
        names: dict = {}
        with inside(self.create_tempdir().full_path):
            exec(compile(first, "large_data.md", "exec"), names)
            exec(compile(second, "large_data.md", "exec"), names)
            again = kvae.load_model("records.keras")
            whole = names["model"]()
            names["train"](whole, epochs=3)
        self.assertEqual(int(whole.optimizer.iterations), 3 * names["STEPS"])
        for a, b in zip(state(again), state(whole), strict=True):
            self.assertAllEqual(a, b)

    @pytest.mark.slow
    @without_xla()
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
    @without_xla()
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
        first, second = self.blocks("python", "docs/dynamics.md")
        names: dict = {}
        first = re.sub(r"epochs=\d+", "epochs=1", first).replace("trajectories=256, steps=160", "256, 160, transient=5")
        with inside(self.create_tempdir().full_path):
            exec(compile(first, "dynamics.md", "exec"), names)
            self.assertEqual(sorted(os.listdir()), ["dynamics", "dynamics.keras"])
        again: dict = {name: names[name] for name in ("keras", "kvae", "dynamics")}
        exec(compile(second, "dynamics.md", "exec"), again)
        expected = np.exp(-0.15 * 0.05 * np.repeat([1, 2, 3], 2) ** 2)
        self.assertAllClose(again["model"].eigenvalues(0.15).real, expected, atol=1e-3)
        self.assertEqual(names["forecast"].shape, (50, 32, 150, 64))
        self.assertGreater(names["time"].mean, 0)


NODE = re.compile(r"[\w./-]+/[\w./-]*|[\w-]+\.(?:py|md)")  # a file or a folder


def unknown(text: str) -> list[str]:
    """What stands in backticks, or is linked to, and names a file, a test or a part of kvae that there is not."""
    missing = []
    linked = [f"docs/{link}" for link in re.findall(r"\]\(([\w./-]+)", text)]
    for name in re.findall(r"`([^`]+)`", text) + re.findall(r"python ([\w./-]+)", text) + linked:
        path, _, test = name.partition("::")
        if name.startswith("kvae."):
            part, found = kvae, True
            for word in name.split("(")[0].split(".")[1:]:
                found = hasattr(part, word)
                part = getattr(part, word, None)
        elif NODE.fullmatch(path):
            found = (ROOT / path).exists()
            if found and test:
                found = re.search(rf"^ *(?:def|class) {test}\b", (ROOT / path).read_text(), re.MULTILINE) is not None
        else:
            found = not test
        if not found:
            missing.append(name)
    return missing


class SourcesTest(tf.test.TestCase):
    """docs/sources.md: the statements of four documents; docs/results.md: the tests that hold its rows."""

    def test_what_is_named_is_there(self):
        for name in ("sources.md", "results.md"):
            text = (ROOT / "docs" / name).read_text()
            self.assertEqual(unknown(text), [], name)
        self.assertGreater(text.count("::test_"), 20)

    def test_what_is_not_there_is_found(self):
        for name in ("`tests/no.py`", "`tests/test_oracle.py::test_nothing`", "`kvae.VAE.fly`", "[no](no.md#row)"):
            self.assertLen(unknown(f"| {name} |"), 1)

    def test_every_statement_has_a_row(self):
        """And what is verified names a test or a program, here or in the row that it sends to."""
        parts = re.split(r"^## ([A-D])\. ", (ROOT / "docs" / "sources.md").read_text(), flags=re.MULTILINE)[1:]
        rows = {}
        for letter, text in zip(parts[::2], parts[1::2], strict=True):
            found = re.findall(r"^\| (\d+) \| (.+?) \| ([a-z;, -]+) \| (.*?) ?\|$", text, flags=re.MULTILINE)
            numbers = [int(number) for number, *_ in found]
            self.assertEqual(numbers, list(range(1, {"A": 22, "B": 71, "C": 8, "D": 27}[letter] + 1)))
            rows |= {(letter, int(number)): rest for number, *rest in found}
        self.assertLen(rows, 128)
        for (letter, number), (_, kind, where) in rows.items():
            if re.search(r"(?<!not )verified", kind):
                shown = re.search(r"::test_|examples/|benchmarks/|\.md|\brows? \d|next rows?|\b[AB] \d", where)
                self.assertIsNotNone(shown, f"{letter} {number}")

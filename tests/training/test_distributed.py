"""Training under `tf.distribute` is training on one device: the same noise, batches, losses, logs and weights.

Each run is a process of its own (`replicas_program.py`), in float64. Trackers are float32.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from tests.training.replicas_program import CASES

PROGRAM = pathlib.Path(__file__).with_name("replicas_program.py")
ROOT = PROGRAM.parents[2]


def started(case: str, replicas, output: str, **environment) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = ["timeout", "-k", "5", "300", sys.executable, str(PROGRAM), case, str(replicas), output]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> None:
    _, error = process.communicate()
    if process.returncode:
        raise AssertionError(error[-3000:])


def free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class DistributedTest(tf.test.TestCase, parameterized.TestCase):
    def numbers(self, case: str, replicas) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            ended(started(case, replicas, f"{folder}/found.npz"))
            with np.load(f"{folder}/found.npz") as found:
                return dict(found)

    def assert_equal(self, found, expected, weights=1e-9, logs=1e-6):
        self.assertEqual(found.keys(), expected.keys())
        for name, value in expected.items():
            size = np.abs(value).max() + 1e-12
            self.assertAllClose(found[name] / size, value / size, rtol=0, atol=weights if "weight" in name else logs)

    @parameterized.parameters(*CASES)
    @pytest.mark.slow
    def test_three_replicas_are_one_device(self, case):
        """The batches of 24 are divided evenly, the last one of five rows is not."""
        expected = self.numbers(case, 0)
        self.assertLess(expected["history loss"][-1], expected["history loss"][0])
        self.assert_equal(self.numbers(case, 3), expected)

    @pytest.mark.slow
    def test_more_replicas_than_rows(self):
        """The last batch of five rows on eight replicas leaves some without a row."""
        self.assert_equal(self.numbers("adam", 8), self.numbers("adam", 0))

    @pytest.mark.slow
    def test_one_replica_is_no_strategy_bit_for_bit(self):
        for case in ("adam", "dynamic"):
            self.assert_equal(self.numbers(case, 1), self.numbers(case, 0), weights=0.0, logs=0.0)

    @parameterized.parameters("global_clipnorm", "codes", "optimal")
    @pytest.mark.slow
    def test_two_workers_are_one_device(self, case):
        ports = free_ports(2)
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        with tempfile.TemporaryDirectory() as folder:
            workers = []
            for index in range(2):
                task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
                workers.append(started(case, "workers", f"{folder}/{index}.npz", TF_CONFIG=json.dumps(task)))
            for worker in workers:
                ended(worker)
            found = [dict(np.load(f"{folder}/{index}.npz")) for index in range(2)]
        self.assert_equal(found[1], found[0], weights=0.0, logs=0.0)
        self.assert_equal(found[0], self.numbers(case, 0))


@pytest.mark.slow
def test_the_document_runs():
    """In a process of its own, which makes a strategy."""
    text = (ROOT / "docs" / "distributed.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(["timeout", "-k", "5", "300", sys.executable, "-c", code], check=True, env=environment)

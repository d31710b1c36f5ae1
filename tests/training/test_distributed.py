"""Training under `tf.distribute` is training on one device: the same noise, batches, losses, logs and weights.

Each run is a process of its own (`replicas_program.py`), in float64. Trackers are float32.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import kvae
from tests.training.replicas_program import CASES, LONG

PROGRAM = pathlib.Path(__file__).with_name("replicas_program.py")
ROOT = PROGRAM.parents[2]


def started(cases, replicas, output, **environment) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = ["timeout", "-k", "5", "600", sys.executable, str(PROGRAM), ",".join(cases), str(replicas), str(output)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> None:
    _, error = process.communicate()
    if process.returncode:
        raise AssertionError(error[-3000:])


def numbers(cases, replicas, folder: pathlib.Path) -> dict[str, np.ndarray]:
    ended(started(cases, replicas, folder / "found.npz"))
    with np.load(folder / "found.npz") as found:
        return dict(found)


def assert_equal(found, expected, weights=1e-7, logs=1e-6):
    """Relative to the largest of each: weights, and the logs of float32 trackers."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        size = np.abs(value).max() + 1e-12
        tolerance = weights if ": weight" in name else logs
        np.testing.assert_allclose(found[name] / size, value / size, rtol=0, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, np.ndarray]:
    """Every case on one device."""
    return numbers(CASES, 0, tmp_path_factory.mktemp("alone"))


def of(cases, found) -> dict[str, np.ndarray]:
    return {name: value for name, value in found.items() if name.split(":")[0] in cases}


@pytest.mark.slow
@pytest.mark.parametrize("replicas, cases", [(2, LONG), (4, tuple(CASES))])
def test_replicas_are_one_device(replicas, cases, alone, tmp_path):
    """The batches of 24 are divided evenly, the last one of five rows is not."""
    found = numbers(cases, replicas, tmp_path)
    assert found.pop("rows read", alone["rows read"]) == alone["rows read"]
    assert_equal(found, of(cases, alone))
    for case in cases:
        assert alone[f"{case}: history loss"][-1] < alone[f"{case}: history loss"][0]


@pytest.mark.slow
def test_more_replicas_than_rows(alone, tmp_path):
    """The last batch of five rows on six replicas leaves one without a row."""
    cases = ("optimal",)
    assert_equal(numbers(cases, 6, tmp_path), of(cases, alone))


@pytest.mark.slow
def test_one_replica_is_no_strategy_bit_for_bit(alone, tmp_path):
    cases = ("adam", "dynamic")
    assert_equal(numbers(cases, 1, tmp_path), of(cases, alone), weights=0.0, logs=0.0)


@pytest.mark.slow
def test_two_workers_are_one_device(alone, tmp_path):
    cases = (*LONG, "codes", "optimal", "disk")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    workers = []
    for index in range(2):
        task = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        workers.append(started(cases, "workers", tmp_path / f"{index}.npz", TF_CONFIG=task))
    for worker in workers:
        ended(worker)
    found = [dict(np.load(tmp_path / f"{index}.npz")) for index in range(2)]
    read = [int(one.pop("rows read")) for one in found]
    assert min(read) > 250 and sum(read) <= int(alone["rows read"])  # five passes of 101 rows: each reads its half
    assert_equal(found[1], found[0], weights=0.0, logs=0.0)
    assert_equal(found[0], of(cases, alone))


@pytest.mark.slow
def test_the_document_runs(tmp_path):
    """In a process of its own, which makes a strategy."""
    text = (ROOT / "docs" / "distributed.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = ["timeout", "-k", "5", "300", sys.executable, "-c", code]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)


def launched(folder: pathlib.Path, name: str) -> subprocess.Popen:
    """Two workers train on the digits for six epochs."""
    command = [
        sys.executable,
        str(ROOT / "examples" / "launch_local.py"),
        "--workers=2",
        f"--logs={folder / 'logs'}",
        "--",
    ]
    flags = ["--epochs=6", "--hidden=32", "--importance_samples=10", "--verbose=0", f"--output={folder / name}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = ["timeout", "-k", "20", "400", *command, *flags, f"--saved_models={folder / 'saved_models'}"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def children(pid: int) -> list[int]:
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_what_came_after_the_checkpoint(tmp_path):
    """The job begins again by itself, and ends with the bytes of one that nothing happened to."""
    whole = launched(tmp_path, "whole")
    ended(whole)
    job, history = launched(tmp_path, "killed"), tmp_path / "killed" / "history.json"
    while not history.exists() or len(json.loads(history.read_text())["loss"]) < 2:
        assert job.poll() is None
        time.sleep(0.02)
    (launcher,) = children(job.pid)  # of timeout
    workers = children(launcher)
    os.kill(workers[1], signal.SIGKILL)
    _, said = job.communicate()
    assert job.returncode == 0, said[-3000:]
    assert "A worker ended with status" in said and "restart 1 of 3" in said
    one, other = (kvae.load_model(tmp_path / name / "model.keras") for name in ("whole", "killed"))
    for a, b in zip(one.weights + one.optimizer.variables, other.weights + other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", "killed")]
    assert histories[0] == histories[1]

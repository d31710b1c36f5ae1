"""The files of `examples/cluster/`: their commands run in bash, on clusters of fake programs.

The fake `python` writes down TF_CONFIG and its arguments; TensorFlow reads the one, and train.py's flags the others.
"""

import importlib.util
import json
import os
import pathlib
import stat
import subprocess

import pytest
import tensorflow as tf
from absl import flags

from tests.test_examples import program

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLUSTER = ROOT / "examples" / "cluster"
ANY = "#!/usr/bin/env bash\n"


@pytest.fixture
def machine(tmp_path):
    """A folder of fake programs and what runs there: a function of a command and its variables."""
    fakes = {
        "python": 'printf "%s\\n" "$TF_CONFIG" "$@" > "$FOUND/$(date +%s%N)-$$"\n',
        "scontrol": 'test "$*" = "show hostnames gpu[07-09]" && printf "gpu07\\ngpu08\\ngpu09\\n"\n',
        "srun": 'test "$1" = --kill-on-bad-exit=1 && shift\nstatus=0\n'
        'for rank in 0 1 2; do SLURM_PROCID=$rank "$@" || status=1; done\nexit $status\n',
    }
    for name, text in fakes.items():
        (tmp_path / name).write_text(ANY + text)
        (tmp_path / name).chmod(stat.S_IRWXU)
    (tmp_path / "found").mkdir()

    def run(command, **variables):
        environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "FOUND": str(tmp_path / "found")}
        done = subprocess.run(
            command, env=environment | variables, cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        written = sorted((tmp_path / "found").iterdir())
        calls = [path.read_text().splitlines() for path in written]
        for path in written:
            path.unlink()
        return done, calls

    return run


def documents(name) -> list[dict]:
    if importlib.util.find_spec("yaml") is None:
        pytest.skip("needs pyyaml")
    import yaml

    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


def check_flags(arguments) -> dict:
    """They are those of train.py, for several workers."""
    assert arguments[0] == "examples/train.py" and (ROOT / arguments[0]).exists()
    program("train")  # puts the folder of the programs on the path
    import configuration

    values = flags.FlagValues()
    configuration.define_flags(values)
    assert values(arguments) == [arguments[0]]
    assert values.distribute == "multiworker"
    return values.flag_values_dict()


def check_cluster(config, hosts, index, monkeypatch):
    """TensorFlow finds these workers in TF_CONFIG, and which of them this one is."""
    monkeypatch.setenv("TF_CONFIG", config)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    assert resolver.cluster_spec().as_dict() == {"worker": hosts}
    assert (resolver.task_type, resolver.task_id) == ("worker", index)
    assert json.loads(config).keys() == {"cluster", "task"}


@pytest.mark.parametrize("name, host", [("kubernetes", "kvae-%d.kvae:2222"), ("jobset", "kvae-workers-0-%d.kvae:2222")])
def test_indexed_jobs(name, host, machine, monkeypatch):
    *others, last = documents(f"{name}.yaml")
    if name == "kubernetes":
        ((service,), job) = others, last
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
        assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"] == "kvae"
    else:
        (job,) = last["spec"]["replicatedJobs"]
        assert (last["metadata"]["name"], job["name"], job["replicas"]) == ("kvae", "workers", 1)
        assert last["spec"]["failurePolicy"]["maxRestarts"] > 0
        job = job["template"]
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    workers = int(variables["WORKERS"])
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", workers, workers)
    assert (spec["backoffLimit"], pod["restartPolicy"]) == (0, "Never")  # no worker comes back alone
    assert container["ports"] == [{"containerPort": 2222}]
    for index in range(workers):
        done, calls = machine(container["command"] + container["args"], JOB_COMPLETION_INDEX=str(index), **variables)
        assert done.returncode == 0, done.stderr
        ((config, *arguments),) = calls
        check_cluster(config, [host % i for i in range(workers)], index, monkeypatch)
        assert check_flags(arguments)["output"].startswith(container["volumeMounts"][0]["mountPath"])


def test_kubeflow():
    (job,) = documents("kubeflow.yaml")
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    worker = job["spec"]["tfReplicaSpecs"]["Worker"]
    (container,) = worker["template"]["spec"]["containers"]
    assert container["name"] == "tensorflow"  # by which the operator finds it
    assert (worker["restartPolicy"], job["spec"]["runPolicy"]["cleanPodPolicy"]) == ("Never", "All")
    assert container["command"][0] == "python"
    found = check_flags(container["command"][1:] + container["args"])
    assert found["output"].startswith(container["volumeMounts"][0]["mountPath"])


SLURM = {"SLURM_JOB_ID": "51234", "SLURM_JOB_NODELIST": "gpu[07-09]"}


def test_slurm(machine, monkeypatch):
    done, calls = machine(["bash", str(CLUSTER / "slurm.sh"), "--epochs=3", "--output=my runs/a"], **SLURM)
    assert done.returncode == 0, done.stderr
    hosts = [f"gpu0{i}:21234" for i in (7, 8, 9)]
    assert len(calls) == 3
    for index, (config, *arguments) in enumerate(calls):
        check_cluster(config, hosts, index, monkeypatch)
        found = check_flags(arguments)
        assert (found["epochs"], found["output"]) == (3, "my runs/a")


def test_slurm_begins_again_with_all_workers(machine, tmp_path):
    python = tmp_path / "python"
    begun = tmp_path / "begun"
    python.write_text(python.read_text() + f'echo >> {begun}\ntest "$(wc -l < {begun})" != 2\n')  # the second one dies
    done, calls = machine(["bash", str(CLUSTER / "slurm.sh")], **SLURM)
    assert done.returncode == 0 and len(calls) == 6
    assert done.stderr == "A worker ended badly in attempt 1 of 4.\n"
    python.write_text(python.read_text() + "exit 1\n")
    done, calls = machine(["bash", str(CLUSTER / "slurm.sh")], **SLURM)
    assert done.returncode == 1 and len(calls) == 12


def test_the_document_names_every_file():
    text = (ROOT / "docs" / "distributed.md").read_text()
    assert all(f"cluster/{path.name}" in text for path in CLUSTER.iterdir())

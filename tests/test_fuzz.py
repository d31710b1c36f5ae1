"""A few of the calls of `benchmarks/faults/fuzz.py`, and whether that program can tell the outcomes apart."""

import collections
import importlib.util
import math
import pathlib
import shutil
import sys

import numpy as np
import pytest

import kvae

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "benchmarks" / "faults" / "fuzz.py"


@pytest.fixture(scope="module")
def program():
    """The program, as a module."""
    spec = importlib.util.spec_from_file_location("fuzz", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)  # which puts its folder and the repository on the path
    yield module
    sys.path[:] = path


@pytest.mark.slow
def test_some_calls(program):
    """Of a third of the targets; of each target one or two."""
    calls = 150
    records = program.run(calls, seed=3)
    found = collections.Counter(record["outcome"] for record in records)
    told = "\n".join(program.fuzz_outcomes.failures(records))
    assert len(records) >= 0.9 * calls
    assert found["ours"] > calls / 3 and found["right"] > calls / 30, found
    assert not sum(found[one] for one in ("hang", "crash", "not finite", "taken wrongly")), told
    assert found["theirs"] + found["bare"] <= 0.01 * len(records), told


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Animation was deleted", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_good_calls_are_right(program, tmp_path, monkeypatch):
    """Each target's good call, and the use of its result: else the others are refused for what is not hostile."""
    monkeypatch.chdir(tmp_path)
    world = program.fuzz_world.World()
    world.files(tmp_path)
    targets = world.targets()
    for name in targets:
        assert program.fuzz_outcomes.outcome(world, targets, (name, {})) == ("right", ""), name
        world.mend(name)
        shutil.rmtree("new", ignore_errors=True)


@pytest.mark.slow
def test_calls_are_a_function_of_the_seed(program):
    one, again, other = (program.plans(220, seed) for seed in (0, 0, 1))
    assert one == again != other
    targets = {name for name, _ in one}
    assert {"VAE.fit", "evaluate.ais", "plots.grid", "data.Split.part", "load_model", "VAE.fit with classes"} <= targets


def outcome_of(program, call):
    try:
        call()
    except Exception as error:
        return program.fuzz_outcomes.whose(error)[0]
    raise AssertionError("no error")


def test_whose_error_it_is(program):
    assert outcome_of(program, lambda: kvae.networks.mlp((4,), "2")) == "ours"
    assert outcome_of(program, lambda: kvae.evaluate.mutual_information_gap("a", "b")) == "ours"
    assert outcome_of(program, lambda: np.linalg.cholesky(np.zeros((2, 2)))) == "theirs"
    assert outcome_of(program, lambda: kvae.numerics.elementary.polynomial(1.0, 3)) == "bare"


def test_what_is_not_finite(program):
    error, mean = (
        kvae.evaluate.Estimate(*values, 1.0, "nats") for values in ((1.0, math.nan, 0.1), (math.nan, 0.1, 0.1))
    )
    assert not program.fuzz_outcomes.not_finite([{"a": np.ones(3)}, 1, "nan", None, error])
    assert program.fuzz_outcomes.not_finite({"a": [np.array([1.0, math.inf])]}) == "result.a"
    assert program.fuzz_outcomes.not_finite(mean) == "result.mean"


def test_new_exports_need_a_good_call(program, monkeypatch):
    fuzz_calls, world = program.fuzz_calls, program.fuzz_world.World
    monkeypatch.setattr(kvae.evaluate, "__all__", [*kvae.evaluate.__all__, "novelty"])
    monkeypatch.setattr(kvae.evaluate, "novelty", kvae.evaluate.score, raising=False)
    with pytest.raises(KeyError, match=r"has no good call for kvae\.evaluate\.novelty"):
        world().targets()
    monkeypatch.setitem(fuzz_calls.GOOD, "evaluate.novelty", {"vae": "vae", "data": "X"})
    assert "evaluate.novelty" in world().targets()
    monkeypatch.delitem(fuzz_calls.GOOD, "likelihoods.Ordinal")  # a class, of an argument without a default
    with pytest.raises(KeyError, match=r"has no good call for kvae\.likelihoods\.Ordinal"):
        world().targets()
    monkeypatch.undo()
    monkeypatch.setitem(fuzz_calls.GOOD, "evaluate.nothing", {})
    with pytest.raises(KeyError, match=r"does not export .*evaluate\.nothing"):
        world().targets()

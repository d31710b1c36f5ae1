"""Hostile and damaged files, full disks and locks: the programs of `benchmarks/faults`, a few times each."""

import importlib.util
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from unittest import mock

import keras
import numpy as np
import pytest

import kvae
from kvae.numerics import files

ROOT = pathlib.Path(__file__).resolve().parents[1]


def program(name):
    """A program of `benchmarks/faults`, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / "faults" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


damaged, hostile = program("damaged_files"), program("hostile_files")
CHECKED = [(kind, way) for kind in damaged.KINDS if kind.name not in damaged.UNCHECKED for way in damaged.WAYS]
CHECKED = [(kind, way) for kind, way in CHECKED if (kind.name, way) != ("SavedModel", "truncated")]  # an export is slow


# ---- damaged files ----


@pytest.mark.parametrize("kind, way", CHECKED, ids=lambda one: getattr(one, "name", one))
def test_damaged_files_are_refused(kind, way):
    found = damaged.damaged(kind, way, 4, seed=1)
    assert found["right"] + found["refused"] + (found["theirs"] if kind.name == "TFRecord" else 0) == 4, found
    assert found["right"] < 4


def test_the_program_tells_other_numbers(tmp_path):
    kind = next(kind for kind in damaged.KINDS if kind.name == ".npy")
    kind.write(tmp_path / kind.file)
    expected = kind.read(tmp_path / kind.file)
    np.save(tmp_path / kind.file, damaged.X[:-1])
    assert damaged.outcome(kind, tmp_path / kind.file, expected) == "wrong"
    (tmp_path / kind.file).write_bytes((tmp_path / kind.file).read_bytes()[:-1])
    assert damaged.outcome(kind, tmp_path / kind.file, expected) == "refused"


def test_a_shorter_array_in_an_npz_is_seen(tmp_path):
    """NumPy reads the rows that a damaged header promises, and compares no checksum."""
    np.savez(tmp_path / "x.npz", x_train=np.arange(4e5).reshape(-1, 2))
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(content.replace(b"(200000, 2)", b"(100000, 2)"))
    assert np.load(tmp_path / "x.npz")["x_train"].shape == (100000, 2)
    with pytest.raises(ValueError, match=r"x.npz is not a readable .npz file .*does not read back"):
        kvae.data.load(tmp_path / "x.npz")


def test_every_file_of_an_export_is_verified(tmp_path):
    path = tmp_path / "1"
    damaged.model().export(path, verbose=False)
    assert kvae.export.verify(path)["latent_dim"] == 2
    files_of = [one for one in path.rglob("*") if one.is_file()]
    assert len(files_of) == 8
    for file in files_of:
        whole = file.read_bytes()
        file.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])
        with pytest.raises(ValueError, match=r"is damaged: its file"):
            kvae.export.verify(path)
        file.write_bytes(whole)
    assert subprocess.run(["sha256sum", "-c", "manifest.sha256"], cwd=path / "assets.extra").returncode == 0


# ---- hostile files ----


def test_hostile_archives_are_refused(tmp_path):
    told = {name: hostile.outcome(path) for name, path in hostile.archives(tmp_path)}
    assert len(told) > 25 and set(told.values()) == {"refused"}, told


@pytest.mark.parametrize("kind", ["mlp", "categories"])
def test_absurd_sizes_are_refused(tmp_path, kind):
    """And nothing of the kind is made: the process needs no more memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {name: hostile.outcome(path) for name, path in hostile.sizes(tmp_path, [kind], most=8)}
    assert set(told.values()) <= {"refused", "right"} and list(told.values()).count("refused") >= 8, told
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 500_000  # kilobytes


def test_the_other_readers_refuse_them_too(tmp_path):
    path = tmp_path / "code.keras"
    hostile.model().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../out", "x")
    for read in (kvae.anomaly.Detector.load, lambda path: kvae.callbacks.BestCheckpoint(path).on_train_begin()):
        with pytest.raises(ValueError, match=r"code.keras is refused: its part '../out' would be written outside"):
            read(path)


def test_code_is_not_run_where_the_safe_mode_is_off(tmp_path):
    x = keras.Input((6,))
    encoder = keras.Model(x, keras.layers.Lambda(lambda t: 2.0 * t)(keras.layers.Dense(4)(x)))
    kvae.VAE(encoder, kvae.networks.mlp((6,), 2)[1]).save(tmp_path / "m.keras")
    with mock.patch("keras.src.saving.serialization_lib.in_safe_mode", lambda: False):
        keras.models.load_model(tmp_path / "m.keras")
        with pytest.raises(ValueError, match=r"m.keras is refused: it holds a Lambda"):
            kvae.load_model(tmp_path / "m.keras")


def test_the_limit_on_weights_ends_with_the_loading(tmp_path):
    hostile.model().save(tmp_path / "m.keras")
    before = keras.layers.Layer.add_weight
    kvae.load_model(tmp_path / "m.keras")
    config = zipfile.ZipFile(tmp_path / "m.keras").read("config.json").replace(b'"units": 4', b'"units": 40000000')
    parts = hostile.parts_of(tmp_path / "m.keras") | {"config.json": config}
    with pytest.raises(ValueError, match=r"its layers ask for .* weights"):
        kvae.load_model(hostile.write(tmp_path / "large.keras", parts))
    assert keras.layers.Layer.add_weight is before


# ---- full disks, and folders that are gone ----


@pytest.mark.slow
def test_nothing_is_lost_on_a_full_disk():
    full = program("full_disk")
    with full.disk() as (folder, mounted):
        for name in ("VAE.save", "Checkpoint", "history.json", "write_shards", "VAE.export"):
            job = full.JOBS[name]
            if name != "VAE.export":  # whose versions are folders of their own
                job(folder)
            assert full.outcome(job, folder, 5_000, mounted) == "refused", name


def test_the_limit_stands_for_a_full_disk(tmp_path):
    full = program("full_disk")
    job = full.JOBS["VAE.save"]
    job(tmp_path)
    assert full.outcome(job, tmp_path, 5_000, mounted=False) == "refused"


def test_training_goes_on_where_a_checkpoint_cannot_be_written(tmp_path):
    """The folder is gone for an epoch; the next one makes it again. At the end of the fit it is an error."""
    vae, path = hostile.model(), tmp_path / "run" / "m.keras"

    x = np.zeros((8, 6), np.float32)

    def breaks(epoch, logs):
        if epoch == 1:
            shutil.move(path.parent, tmp_path / "gone")
            path.parent.write_text("in the way")
        if epoch == 2:
            path.parent.unlink()

    breaking = keras.callbacks.LambdaCallback(on_epoch_begin=breaks)
    with pytest.warns(UserWarning, match=r"m.keras could not be written: .*The training goes on; the next save tries"):
        vae.fit(x, epochs=3, verbose=0, callbacks=[breaking, kvae.callbacks.Checkpoint(path)])
    assert int(kvae.load_model(path).passes) == 3
    assert sorted(os.listdir(path.parent)) == ["m.keras"]
    assert int(kvae.load_model(tmp_path / "gone" / "m.keras").passes) == 1
    breaking = keras.callbacks.LambdaCallback(on_train_end=lambda logs: breaks(1, None))
    with pytest.raises(OSError, match=r"m.keras could not be written: .*or give another path"):
        vae.fit(x, epochs=2, verbose=0, callbacks=[breaking, kvae.callbacks.Checkpoint(path, seconds=1e6)])
    vae.save(tmp_path / "elsewhere.keras")
    assert int(kvae.load_model(tmp_path / "elsewhere.keras").passes) == 5


# ---- two processes, one path ----

HOLDER = """
import pathlib, sys, time
from kvae.numerics import files
held = files.lock(pathlib.Path(sys.argv[1]), "it")
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_lock_is_of_one_process_and_ends_with_it(tmp_path):
    path = tmp_path / ".m.keras.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    vae, x = hostile.model(), np.zeros((8, 6), np.float32)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=rf"m.keras is in use by process {process.pid} on "):
            vae.fit(x, epochs=1, verbose=0, callbacks=kvae.callbacks.Checkpoint(tmp_path / "m.keras"))
        assert int(vae.passes) == 0
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.exists()  # what is left does not lock
    staging = tmp_path / ".writing-x"
    staging.mkdir()
    (staging / "m.keras").write_text("half")  # of a process that was killed
    vae.fit(x, epochs=1, verbose=0, callbacks=kvae.callbacks.Checkpoint(tmp_path / "m.keras"))
    assert os.listdir(tmp_path) == ["m.keras"]


def test_a_lock_that_its_holder_has_just_deleted(tmp_path):
    """Who opened it before holds nothing then, and locks the new one."""
    path = tmp_path / "lock"
    real, opened = files.fcntl.lockf, []

    def lockf(file, how):
        if not opened:
            path.unlink()
        opened.append(file)
        real(file, how)

    with mock.patch.object(files.fcntl, "lockf", lockf):
        held = files.lock(path, "it")
    assert len(opened) == 2 and path.read_text().startswith(f"{os.getpid()} on ")
    files.unlock(path, held)
    assert not path.exists()


# ---- memory ----


@pytest.mark.slow
def test_memory_is_told():
    memory = program("memory")
    found = memory.cycles(2, warm=1)
    assert list(found) == [0, 1] and found[1].threads <= found[0].threads and found[1].files <= found[0].files
    grown = {5 * step: memory.Held(100.0 + 2.0 * step, 1, 1) for step in range(20)}
    assert memory.slope(grown) == pytest.approx(0.4)

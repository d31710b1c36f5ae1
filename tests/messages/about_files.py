"""Messages about models, checkpoints and SavedModels in files: place to (call, message[, type])."""

import errno
import shutil
import zipfile
from pathlib import Path
from unittest import mock

import keras
import numpy as np

import kvae
from kvae import callbacks
from kvae.models import archive
from kvae.numerics import files
from tests.messages.given import X, path, vae


def _saved(name="whole.keras") -> Path:
    found = path(name)
    if not found.exists():
        vae().save(found)
    return found


def _damaged(name, first):
    """A saved file with a byte changed."""
    content = bytearray(_saved().read_bytes())
    content[first] ^= 0xFF
    return path(name, bytes(content))


def _of_parts(name, **changed):
    """A saved file with other parts."""
    with zipfile.ZipFile(_saved()) as file:
        parts = {one: file.read(one) for one in file.namelist()}
    parts |= {f"{one}.json": content for one, content in changed.items()}
    with zipfile.ZipFile(path(name), "w") as file:
        for one, content in parts.items():
            file.writestr(one, content)
    return path(name)


def _of_newer_keras():
    return _of_parts("newer.keras", metadata=b'{"keras_version": "99.1.0"}', config=b'{"class_name": "Unheard"}')


def _larger():
    """A model of a thousand times as many weights as its file holds."""
    config = zipfile.ZipFile(_saved()).read("config.json").replace(b'"units": 8', b'"units": 8000000')
    return _of_parts("larger.keras", config=config)


def _more_weights():
    with archive.no_more_weights_than(archive.Content({}, "", {}, 10)):
        keras.layers.Dense(10**9).build((None, 10**3))


def _no_room(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def _on_a_full_disk(job):
    with mock.patch("keras.Model.save", _no_room), mock.patch("keras.export.ExportArchive", _no_room):
        job()


def _next_save():
    callback = callbacks.Checkpoint(path("full.keras"))
    callback.set_model(vae())
    _on_a_full_disk(lambda: callback.on_epoch_end(0))


def _locked():
    path("locked").write_text("1234 on there")
    with mock.patch("fcntl.lockf", side_effect=BlockingIOError(errno.EAGAIN, "")):
        files.lock(path("locked"), "The run runs/a")


def _locked_by_nobody():
    path("locked").write_text("")
    with mock.patch("fcntl.lockf", side_effect=BlockingIOError(errno.EAGAIN, "")):
        files.lock(path("locked"), "It")


def _verified(change):
    """An export in which a function has changed a file."""
    found = path("verified/1")
    if not found.exists():
        vae().export(found, verbose=False)
    copy = path("changed/1")
    shutil.copytree(found, copy)
    try:
        change(copy)
        kvae.export.verify(copy)
    finally:
        shutil.rmtree(copy)


def _old_manifest(folder):
    (folder / "assets.extra" / "manifest.sha256").unlink()
    (folder / "assets.extra" / "manifest.json").write_text("{")


def _of_another_kind():
    np.savez(path("other.npz"), x=X)
    return path("other.keras", path("other.npz").read_bytes())


def _best_of_a_torn_file():
    callbacks.BestCheckpoint(path("torn.keras", b"x")).on_train_begin()


def _shared():
    dense, x, z = keras.layers.Dense(3), keras.Input((3,)), keras.Input((3,))
    model = kvae.VAE(keras.Model(x, dense(x)), keras.Model(z, dense(z)))
    model.save(path("shared.keras"))


def _in_the_way():
    """A folder that comes into being while the SavedModel is written."""
    found = path("late/1")
    with (
        mock.patch("keras.export.ExportArchive"),
        mock.patch("kvae.export.warmup.write", lambda *_: found.mkdir()),
        mock.patch("kvae.export.saved_models.manifest", return_value={"signatures": {}}),
        mock.patch("tempfile.mkdtemp", lambda **_: str(path("late/staging/model/x").parent.parent)),
    ):
        vae().export(found, verbose=False)


def _folder():
    return path("dir.keras/x").parent


def _below_a_file():
    return path("a.txt", b"") / "m.keras"


def _sigterm():
    callback = callbacks.Checkpoint(path("ended.keras"), on_sigterm=True)
    callback.set_model(vae())
    callback._asked_to_end = True
    callback.on_train_batch_end(0)


ROWS = {
    "models.saving.check_saved": [
        (lambda: vae().save("model"), r"must end in .keras, got 'model'. For a SavedModel use vae.export\(path\)"),
        (lambda: vae().save("m.h5"), "writes .keras files, which keep everything; got 'm.h5'. Use that ending"),
        (_shared, r"cannot be saved: encoder and decoder share the layers \['dense.*Give each network its own layers"),
    ],
    "models.saving.load_model": [
        (lambda: kvae.load_model("no.keras"), "There is no file no.keras. Check the path", FileNotFoundError),
        (lambda: kvae.load_model(path("x").parent), r"is a folder. If it is a SavedModel, load it with tf.saved_model"),
        (
            lambda: kvae.load_model(path("m.h5", b"")),
            "m.h5 is an HDF5 file. kvae reads .keras files; write one with va",
        ),
        (
            lambda: kvae.load_model(_of_newer_keras()),
            "written with Keras 99.1.0 .* by Keras .* older. Mend it with: pip",
        ),
        (
            lambda: kvae.load_model(_of_parts("unheard.keras", config=b'{"class_name": "Unheard"}')),
            r"unheard.keras cannot be read: Expected.*\(ValueError\). Import the modules of your own classes",
        ),
        (
            lambda: kvae.load_model(_larger()),
            "cannot be read: its layers ask for .* weights .* and it holds .*damaged or hostile: take another copy, or",
        ),
    ],
    "models.archive.read": [
        (
            lambda: kvae.load_model(path("a.keras", b"x")),
            r"a readable .keras file \(File is not a zip.*damaged. Take a co",
        ),
        (
            lambda: kvae.load_model(_damaged("b.keras", 2000)),
            "a readable .keras file .*does not read back.*Take a copy",
        ),
        (
            lambda: kvae.load_model(_of_another_kind()),
            r"\(it has no metadata.json\): it is truncated or dam.*Take a copy",
        ),
        (_best_of_a_torn_file, "torn.keras is not a readable .keras file .*or train again"),
        (
            lambda: kvae.load_model(_of_parts("list.keras", config=b"[]")),
            r"list.keras is not a readable .keras file \(its JSON is of another kind\): it is truncated or damaged",
        ),
        (
            lambda: kvae.load_model(_of_parts("out.keras", **{"../out": b""})),
            "out.keras is refused: its part '../out.json' would be written outside of its folder. Do not use it",
        ),
    ],
    "models.archive.refuse_code": [
        (
            lambda: kvae.load_model(_of_parts("code.keras", config=b'{"class_name": "Lambda"}')),
            r"refused: it holds a Lambda, which would run code.*keras.models.load_model\(path, safe_mode=False\)",
        ),
    ],
    "models.archive.no_more_weights_than": [
        (_more_weights, r"its layers ask for 1000000000000 weights \(to 'dense.*'\) and it holds 10$", MemoryError),
    ],
    "numerics.files.whole": [
        (
            lambda: _on_a_full_disk(lambda: vae().save(path("full.keras"))),
            "full.keras could not be written: No space left on device. Nothing is left of it. Make room there, or give",
            OSError,
        ),
        (
            lambda: mock.patch("os.replace", side_effect=PermissionError(13, "No"))(lambda *_: vae().save(_saved()))(),
            "whole.keras could not be written: No. The one that was there is whole. Make that possible, or give",
            PermissionError,
        ),
    ],
    "numerics.files.lock": [
        (_locked, "The run runs/a is in use by process 1234 on there. Wait for its end, stop it, or", BlockingIOError),
        (_locked_by_nobody, "in use by process unknown. Wait", BlockingIOError),
    ],
    "callbacks.checkpoints._or_warn": [
        (_next_save, "full.keras could not be written.*The training goes on; the next save tries again", UserWarning),
    ],
    "export.verification.verify": [
        (
            lambda: kvae.export.verify(path("a")),
            "a holds no assets.extra/manifest.json, which kvae puts into what it exports. Give the folder of a version",
            FileNotFoundError,
        ),
        (
            lambda: _verified(lambda folder: (folder / "assets.extra" / "manifest.json").write_text("{}")),
            "is damaged: its file assets.extra/manifest.json is not what was exported, or missing. Copy or export",
        ),
        (lambda: _verified(_old_manifest), "is damaged: its file assets.extra/manifest.json is not what was exported"),
        (
            lambda: _verified(lambda folder: (folder / "saved_model.pb").unlink()),
            "is damaged: its file saved_model.pb is not what was exported, or missing",
        ),
    ],
    "callbacks.checkpoints.Checkpoint.on_train_batch_end": [(_sigterm, "143", SystemExit)],
    "callbacks.checkpoints.BestCheckpoint.__init__": [
        (
            lambda: callbacks.BestCheckpoint("a.keras", 3),
            "monitor must be the name of a log, such as 'val_elbo', got 3",
        ),
    ],
    "callbacks.checkpoints.BestCheckpoint.on_epoch_end": [
        (
            lambda: callbacks.BestCheckpoint("a.keras").on_epoch_end(0, {"elbo": 1.0}),
            r"monitors 'val_elbo', but the logs of this fit are \['elbo'\]. Give fit\(validation_data",
        ),
    ],
    "callbacks.checkpoints._keras_path": [
        (lambda: callbacks.Checkpoint("runs/model"), "needs a path that ends in .keras, got 'runs/model'"),
    ],
    "callbacks.diagnose.Diagnose.__init__": [
        (lambda: callbacks.Diagnose(X, say="print"), "say must be a function of a text, such as print, got 'print'"),
    ],
    "export.saved_models.next_version": [
        (
            lambda: kvae.export.next_version(path("a.txt", b"")),
            "the folder of the versions, but .*a.txt is a file. Give",
        ),
    ],
    "numerics.arguments.new_file": [
        (lambda: vae().save(_folder()), "filepath must be a file, but .*dir.keras is a folder. Give a name in it"),
        (
            lambda: vae().fit(X, callbacks=callbacks.Checkpoint(_folder())),
            "filepath must be a file, but .* is a folder",
        ),
        (lambda: vae().fit(X, callbacks=callbacks.BestCheckpoint(_folder())), "must be a file, but .* is a folder"),
    ],
    "numerics.arguments.make_folder": [
        (
            lambda: vae().save(_below_a_file()),
            "written to the folder .*a.txt: File exists. Give a path in ano",
            OSError,
        ),
        (lambda: vae().export(_below_a_file()), "written to the folder .*a.txt: File exists. Give a path in", OSError),
        (
            lambda: vae().fit(X, callbacks=callbacks.Checkpoint(_below_a_file())),
            "Nothing can be written to the folder .*a.txt: File exists. Give a path in another",
            OSError,
        ),
        (
            lambda: mock.patch("tempfile.TemporaryFile", side_effect=PermissionError(13, "Permission denied"))(
                lambda *_: vae().save(path("m.keras"))
            )(),
            "Nothing can be written to the folder .*: Permission denied. Give a path in another",
            OSError,
        ),
    ],
    "export.staging.new_path": [
        (
            lambda: vae().export(path("a/1/x").parent),
            r"1 exists and is not overwritten. Export to another path, .* kvae.export.next_version\('.*a'\)",
            FileExistsError,
        ),
    ],
    "export.staging._write": [
        (_in_the_way, "1 came into being during the export and is not overwritten. Export again", FileExistsError),
    ],
    "export.staging.write": [
        (
            lambda: _on_a_full_disk(lambda: vae().export(path("full/1"))),
            "full/1 could not be written: No space left on device. Nothing is left of it. Make room",
            OSError,
        ),
    ],
    "export.saved_models.saved_model": [
        (
            lambda: kvae.export.saved_model(vae(), "new/1", scored="p_value"),
            "scored must be a function of a batch, got 'p_value'",
        ),
    ],
    "export.endpoints._Served._scored": [
        (
            lambda: kvae.export.saved_model(vae(), "new/1", scored=len, verbose=False),
            r"scored must give a dict of names to outputs \[B\], got 4",
        ),
    ],
}

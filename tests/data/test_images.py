"""Folders of images and other paths: sizes, channels, files that cannot be read, and what is printed."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import kvae
from tests.conformance import inside

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (6, 4), np.uint8)
RGB = RANDOM.integers(0, 256, (6, 4, 3), np.uint8)
RGBA = RANDOM.integers(0, 256, (6, 4, 4), np.uint8)


def write(folder, **images):
    """PNG files, by the library of another house; names to arrays or to images."""
    for name, image in images.items():
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(folder / f"{name}.png")


def load(folder, **options):
    return kvae.data.load(folder, validation=0, **options)


def test_paths_are_paths(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    write(folder, a=RGB, b=RGB[::-1])
    np.savez(tmp_path / "some.npz", x_train=np.eye(3))
    with inside(tmp_path):
        for name in (folder, str(folder), f"{folder}/", "photos", "./photos/", pathlib.Path("photos")):
            data = load(name)
            np.testing.assert_array_equal(data.train.array, [RGB, RGB[::-1]])
            assert pathlib.Path(data.name).name == "photos" and isinstance(data.name, str)
        np.testing.assert_array_equal(load(pathlib.Path("some.npz")).train.x, np.eye(3))
        np.testing.assert_array_equal(kvae.data.folder("photos/")["x_train"], [RGB, RGB[::-1]])


@pytest.mark.parametrize("name, error, message", [
    ("./missing/", FileNotFoundError, "There is no file or folder missing. kvae reads 'digits'"),
    (pathlib.Path("digits"), FileNotFoundError, "There is no file or folder digits"),
    ("missing.npz", FileNotFoundError, "There is no file missing.npz"),
    ("file.py", ValueError, "file.py is a file that kvae does not read. kvae reads 'digits'.*from_arrays"),
    ("gone.py", ValueError, "There is no file, folder or data set 'gone.py'. kvae reads"),
    ("a/b/c", ValueError, "There is no file, folder or data set 'a/b/c'"),
    ("mnits", ValueError, "There is no data set 'mnits'. kvae reads"),
    ("mnist:9.9.9", ValueError, "tensorflow-datasets cannot make 'mnist:9.9.9'.*9.9.9"),
    ("broken.npz", ValueError, r"broken.npz is not a readable .npz file of numbers.*numpy.savez"),
    ("objects.npz", ValueError, r"objects.npz is not a readable .npz file of numbers"),
    ("", ValueError, "name must be a path"),
    (None, ValueError, "name must be a path or the name of a data set, got None. kvae reads"),
    (3, ValueError, "name must be a path or the name of a data set, got 3"),
    (b"digits", ValueError, "name must be a path or the name of a data set, got b'digits'"),
])  # fmt: skip
def test_what_is_not_read(tmp_path, name, error, message):
    with inside(tmp_path):
        pathlib.Path("file.py").write_text("")
        pathlib.Path("broken.npz").write_bytes(b"PK\3\4 not more")
        np.savez("objects.npz", x_train=np.array([None, 1], object))
        with pytest.raises(error, match=message) as caught:
            kvae.data.load(name)
    assert len(str(caught.value)) < 400


def test_sizes(tmp_path):
    """Resized to the mean of each 2 x 2 block's neighbourhood: a constant stays, a ramp stays a ramp."""
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (12, 1))
    write(tmp_path, a=np.full((5, 7), 93, np.uint8), b=ramp)
    with pytest.raises(
        ValueError, match=r"but .*a.png has shape \(5, 7, 1\) and .*b.png \(12, 24, 1\).*size=\(64, 64\)"
    ):
        load(tmp_path)
    data = load(tmp_path, size=(6, 12))
    assert data.event_shape == (6, 12, 1) and data.train.array.dtype == np.uint8
    np.testing.assert_array_equal(data.train.array[0], np.full((6, 12, 1), 93))
    np.testing.assert_array_equal(data.train.array[1, :, 1:-1, 0], np.tile(np.arange(5, 240, 20)[1:-1], (6, 1)))
    np.testing.assert_array_equal(load(tmp_path, size=np.array([6, 12])).train.array, data.train.array)
    for size in (64, (64,), (0, 64), "64", (64, 64, 3), (64.5, 64)):
        with pytest.raises(ValueError, match="size must be"):
            load(tmp_path, size=size)


def test_antialiasing(tmp_path):
    """Stripes of one pixel shrink to grey, not to black or white."""
    write(tmp_path, a=np.tile(np.array([0, 255], np.uint8), (32, 16)))
    inner = load(tmp_path, size=(8, 8)).train.array[0, 2:-2, 2:-2]
    assert abs(inner.astype(float) - 127.5).max() < 3


def test_channels(tmp_path):
    write(tmp_path, a_grey=GREY, b_rgb=RGB)
    with pytest.raises(ValueError, match=r"\(6, 4, 1\) and .*b_rgb.png \(6, 4, 3\). Give kvae.data.load channels=1"):
        load(tmp_path)
    grey, colours = (load(tmp_path, channels=channels).train.array for channels in (1, 3))
    luma = RGB @ np.array([0.2989, 0.5870, 0.1140])
    np.testing.assert_array_equal(grey[0, ..., 0], GREY)
    np.testing.assert_allclose(grey[1, ..., 0], luma, atol=0.51)
    np.testing.assert_array_equal(colours, [np.repeat(GREY[..., None], 3, -1), RGB])
    for channels in (2, 4, "3", True, 3.0):
        with pytest.raises(ValueError, match="channels must be 1 or 3, got"):
            load(tmp_path, channels=channels)


def test_transparent_images_are_laid_on_white(tmp_path):
    write(tmp_path, a=RGBA)
    assert load(tmp_path).event_shape == (6, 4, 4)
    part = RGBA[..., 3:] / 255.0
    on_white = part * RGBA[..., :3] + (1.0 - part) * 255.0
    np.testing.assert_allclose(load(tmp_path, channels=3).train.array[0], on_white, atol=0.51)
    grey = on_white @ np.array([0.2989, 0.5870, 0.1140])
    np.testing.assert_allclose(load(tmp_path, channels=1).train.array[0, ..., 0], grey, atol=0.51)
    write(tmp_path, a=Image.fromarray(RGBA).convert("LA"))
    assert load(tmp_path, channels=1).event_shape == (6, 4, 1)


def test_kinds_of_files(tmp_path):
    """Palettes become colours, 16 bits become 8, of a GIF the first frame counts."""
    palette = Image.fromarray(RGB).convert("P")
    write(tmp_path, a=palette)
    np.testing.assert_array_equal(load(tmp_path).train.array[0], np.asarray(palette.convert("RGB")))
    write(tmp_path, a=Image.fromarray(GREY.astype(np.uint16) * 256 + 200))
    np.testing.assert_array_equal(load(tmp_path).train.array[0, ..., 0], GREY)
    (tmp_path / "a.png").unlink()
    frames = [Image.fromarray(np.full((6, 4, 3), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "a.GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(load(tmp_path).train.array, np.full((1, 6, 4, 3), 10))


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "tiff"])
def test_unreadable_images_are_named(tmp_path, kind):
    write(tmp_path, a=RGB, c=RGB[::-1])
    bad = tmp_path / ("b.tif" if kind == "tiff" else "b.png")
    if kind == "tiff":
        Image.fromarray(RGB).save(bad)
    else:
        whole = (tmp_path / "a.png").read_bytes()
        bad.write_bytes({"truncated": whole[: len(whole) // 2], "text": b"no image", "empty": b""}[kind])
    with pytest.raises(
        ValueError, match=rf"{bad.name} cannot be read as an image: [^{{\[]*\. .*unreadable='skip'"
    ) as error:
        load(tmp_path)
    assert ".." not in str(error.value).replace(str(tmp_path), "")
    data = load(tmp_path, unreadable="skip")
    np.testing.assert_array_equal(data.train.array, [RGB, RGB[::-1]])
    assert data.skipped == (str(bad),)
    assert f"left out, as they cannot be read: {bad}" in repr(data)
    for file in ("a", "c"):
        (tmp_path / f"{file}.png").unlink()
    with pytest.raises(ValueError, match=r"None of the 1 images in .* can be read"):
        load(tmp_path, unreadable="skip")
    with pytest.raises(ValueError, match="unreadable must be 'raise' or 'skip', got 'ignore'"):
        load(tmp_path, unreadable="ignore")


def test_labels_stay_with_images_where_files_are_left_out(tmp_path):
    for name in ("ant", "bee", ".hidden"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, a=RGB, b=RGB)
    (tmp_path / "ant" / "a.png").write_bytes(b"")
    (tmp_path / "bee" / "._b.png").write_bytes(b"")  # hidden files are not images
    data = load(tmp_path, unreadable="skip")
    assert data.train.y.tolist() == [0, 1, 1] and data.classes == ("ant", "bee") and len(data.skipped) == 1
    write(tmp_path, beside=RGB)
    with pytest.raises(ValueError, match=r"images beside subfolders: .*beside.png has no class"):
        load(tmp_path, unreadable="skip")


def test_parts_are_numbered_and_measured_together(tmp_path):
    for name in ("train/bee", "val/ant", "test/bee"):
        (tmp_path / name).mkdir(parents=True)
        write(tmp_path / name, a=RGB)
    data = kvae.data.load(tmp_path)
    assert [split.y.tolist() for split in (data.train, data.validation, data.test)] == [[1], [0], [1]]
    write(tmp_path / "test/bee", a=GREY)
    with pytest.raises(ValueError, match=r"train.bee.a.png has shape .* and .*test.bee.a.png"):
        kvae.data.load(tmp_path)


def test_arrays_have_no_form(tmp_path):
    np.savez(tmp_path / "some.npz", x_train=np.eye(3))
    np.save(tmp_path / "x_train.npy", np.eye(3))
    for name in ("digits", tmp_path / "some.npz", tmp_path):
        for options in ({"size": (8, 8)}, {"channels": 1}, {"unreadable": "skip"}):
            with pytest.raises(ValueError, match="size, channels and unreadable are for folders of images, but"):
                load(name, **options)


def test_printed():
    x = np.arange(24, dtype=np.uint8).reshape(6, 2, 2) * 10
    data = kvae.data.from_arrays(
        x, x_test=x[:2], y_train=np.array([0, 1, 1, 1, 1, 1]), validation=0, name="some", classes=("ant", "bee")
    )
    assert repr(data) == (
        "some: 6 train, 2 test examples of shape (2, 2, 1)\n  values in [0, 1], from 0 to 0.902\n"
        "  classes to train on: ant (1), bee (5)"
    )
    binary = kvae.data.load("digits", binarize="dynamic")
    assert repr(binary) == (
        "digits: 1,350 train, 150 validation, 297 test examples of shape (8, 8, 1)\n"
        "  values in {0, 1}, those to train on binarised anew for every batch"
    )
    reals = kvae.data.from_arrays(np.array([[-1.5], [2.0]]), validation=0)
    assert repr(reals) == "arrays: 2 train examples of shape (1,)\n  values in the real numbers, from -1.5 to 2"

    missing = kvae.data.from_arrays(np.array([[-1.5], [np.nan], [2.0]]), validation=0)
    assert repr(missing).endswith("from -1.5 to 2, and NaN")


def test_a_model_is_trained_on_photos(tmp_path):
    """From files of two sizes and kinds to finite numbers, under the likelihood of [0, 1]."""
    write(tmp_path, a=GREY, b=RGBA, c=np.tile(RGB, (2, 3, 1)))
    data = load(tmp_path, size=(4, 4), channels=3)
    assert data.support == kvae.data.UNIT
    vae = kvae.VAE(*kvae.networks.mlp(data.event_shape, 2, hidden=4), likelihood="continuous_bernoulli")
    vae.compile(jit_compile=False)
    vae.fit(data.train, verbose=0)
    assert tf.math.is_finite(vae.evaluate(data.train, verbose=0)[0])

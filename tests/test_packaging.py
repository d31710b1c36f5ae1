"""What is installed from: a wheel and a source distribution, built here, each imported from a folder of its own."""

import ast
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
import tensorflow as tf
from absl.testing import parameterized

from kvae import _environment

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(*command, **environment):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class DistributionTest(tf.test.TestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(tf.compat.v1.test.get_temp_dir(), f"dist-{os.getpid()}")
        copy = cls.folder / "source"  # building leaves folders behind
        ignored = shutil.ignore_patterns(".git", ".venv", "*.egg-info", "build", "runs", "__pycache__", ".environments")
        shutil.copytree(ROOT, copy, ignore=ignored, dirs_exist_ok=True)
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(cls.folder / "dist"), str(copy))

    @parameterized.parameters("*.whl", "*.tar.gz")
    @pytest.mark.slow
    def test_installed_from(self, pattern):
        (archive,) = (self.folder / "dist").glob(pattern)
        self.assertStartsWith(archive.name, "kvae_keras-")
        target = str(self.folder / pattern.removeprefix("*."))
        pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation")
        run(*pip, "--target", target, str(archive))
        code = "import kvae, pathlib; print(pathlib.Path(kvae.__file__).parent.parent, kvae.__version__)"
        where, version = run(sys.executable, "-c", code, PYTHONPATH=target).split()
        self.assertEqual(where, target)
        self.assertStartsWith(archive.name, f"kvae_keras-{version}")
        self.assertContainsExactSubsequence(run(sys.executable, "-m", "kvae", PYTHONPATH=target), "All is well")

    @pytest.mark.slow
    def test_the_wheel_holds_the_library_alone(self):
        (wheel,) = (self.folder / "dist").glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        ours = {str(path.relative_to(ROOT)) for path in (ROOT / "kvae").rglob("*.py")}
        self.assertEqual({name for name in names if name.endswith(".py")}, ours)


class MetadataTest(tf.test.TestCase):
    def test_bounds_stand_in_one_place(self):
        text = (ROOT / "pyproject.toml").read_text()
        (first, last) = re.findall(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', text)[0]
        self.assertEqual(_environment.PYTHONS, ((3, int(first)), (3, int(last) - 1)))
        named = re.findall(r"Python :: 3\.(\d+)", text)
        self.assertEqual(named, [str(minor) for minor in range(int(first), int(last))])
        self.assertIn(f"kvae runs on Python 3.{first} to 3.{int(last) - 1}.", (ROOT / "README.md").read_text())
        for option in _environment.OPTIONAL:
            extra = re.findall(rf"^{option.extra} = (\[.*\])$", text, flags=re.MULTILINE)[0]
            self.assertTrue(any(one.startswith(option.package) for one in ast.literal_eval(extra)), option.package)

    def test_nobody_is_told_to_install_the_other_kvae(self):
        """On PyPI `kvae` is another package."""
        for pattern in ("kvae/**/*.py", "docs/*.md", "*.md", "examples/**/*.py", "benchmarks/**/*.py"):
            for path in ROOT.glob(pattern):
                self.assertNotRegex(path.read_text(), r"pip install[^\n]*[ \"']kvae(?!-keras)", str(path))

"""What kvae needs around it, and what it says where that is missing."""

import ast
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parent.parent


def python(code, **environment):
    command = ["timeout", "-k", "5", "120", sys.executable, "-c", textwrap.dedent(code)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


class EnvironmentTest(tf.test.TestCase):
    HEAVY = {"matplotlib", "sklearn", "tensorflow_datasets"}

    def test_import_does_not_need_the_heavy_packages(self):
        """Keras itself imports scikit-learn and Matplotlib where they are installed; so they are blocked here."""
        done = python(f"""
            import sys

            class Block:
                def find_spec(self, name, path=None, target=None):
                    if name.split(".")[0] in {self.HEAVY}:
                        raise ImportError("blocked: " + name)

            sys.meta_path.insert(0, Block())
            import kvae
        """)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_module_imports_them_at_the_top(self):
        for path in (ROOT / "kvae").rglob("*.py"):
            for node in ast.parse(path.read_text()).body:
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
                self.assertFalse(self.HEAVY & {str(name).split(".")[0] for name in names}, path.name)

    def test_missing_tf_keras(self):
        done = python("""
            import importlib.util, sys
            find = importlib.util.find_spec
            importlib.util.find_spec = lambda name, *a: None if name == "tf_keras" else find(name, *a)
            import kvae
        """)
        self.assertNotEqual(done.returncode, 0)
        last = done.stderr.strip().splitlines()[-1]
        self.assertRegex(
            last, r'ImportError: .*tf_keras, which is not installed. Mend it with: pip install "tf_keras>='
        )

    def test_tf_keras_of_another_version(self):
        done = python("""
            from importlib import metadata
            version = metadata.version
            metadata.version = lambda name: "2.16.0" if name == "tf_keras" else version(name)
            import kvae
        """)
        self.assertRegex(
            done.stderr.strip().splitlines()[-1],
            r"ImportError: tf_keras 2.16 does not fit tensorflow " + ".".join(tf.__version__.split(".")[:2]),
        )

    def test_other_backend(self):
        done = python("import kvae", KERAS_BACKEND="jax")
        self.assertRegex(done.stderr.strip().splitlines()[-1], "ImportError: kvae runs on Keras' TensorFlow backend")
        done = python("""
            import keras
            keras.config.backend = lambda: "torch"
            import kvae
        """)
        self.assertRegex(done.stderr.strip().splitlines()[-1], "ImportError: .*set up for 'torch'")

    def test_no_tensorflow_for_this_python(self):
        done = python("""
            import importlib.util, sys
            find = importlib.util.find_spec
            importlib.util.find_spec = lambda name, *a: None if name == "tensorflow" else find(name, *a)
            sys.version_info = (3, 14, 0)
            import kvae
        """)
        last = done.stderr.strip().splitlines()[-1]
        self.assertRegex(last, "needs tensorflow, and for Python 3.14 there is none .* Use Python 3.10 to 3.13")

    def test_what_is_missing(self):
        for module, found, message in (
            ("keras", "3, 11, 7", "kvae needs keras, which is not installed. Mend it with: pip install kvae-keras"),
            ("distutils", "3, 12, 1", "needs distutils, .* comes with setuptools now. Mend it with: pip install setup"),
        ):
            done = python(f"""
                import importlib.util, sys
                find = importlib.util.find_spec
                importlib.util.find_spec = lambda name, *a: None if name == {module!r} else find(name, *a)
                sys.version_info = ({found})
                import kvae
            """)
            self.assertRegex(done.stderr.strip().splitlines()[-1], message)

    @pytest.mark.slow
    def test_the_report_and_the_self_test(self):
        done = subprocess.run([sys.executable, "-m", "kvae"], capture_output=True, text=True, cwd=ROOT)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"tensorflow +2\.2\d\.\d+\n(.*\n)*Devices\n +CPU:0, (.*\n)*Optional\n")
        self.assertEqual(done.stdout.count("  ok  "), 3)

    @pytest.mark.slow
    def test_the_self_test_can_fail(self):
        """With other noise than Philox', and with a wrong log-likelihood."""
        done = python("""
            import tensorflow as tf
            from kvae import __main__ as program
            program.noise.uniform = lambda *a, **k: tf.fill([1, 4], 0.5)
            summary = program.kvae.evaluate.log_likelihood
            program.kvae.evaluate.log_likelihood = lambda *a, **k: summary(*a, **k) + 1e-3
            print(program.self_test())
        """)
        self.assertEqual(done.stdout.count("FAILED"), 2)
        self.assertIn("Something is wrong", done.stdout)
        self.assertEqual(done.stdout.split()[-1], "False")

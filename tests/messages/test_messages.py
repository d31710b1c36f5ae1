"""Every message of the library: a call that brings it, where it comes from, and what it says.

A new `raise` or `warnings.warn` without a row in these tables fails the last test, which names its place.
"""

import re

import numpy as np
import pytest

from tests.messages import (
    about_anomalies,
    about_batches,
    about_codes,
    about_compression,
    about_data,
    about_dynamics,
    about_estimates,
    about_files,
    about_models,
    about_numbers,
    about_own_parts,
    about_plots,
    about_sources,
    about_tables,
    about_training,
    sites,
)

TABLES = (
    about_anomalies, about_batches, about_codes, about_compression, about_data, about_dynamics, about_estimates,
    about_files, about_models, about_numbers, about_own_parts, about_plots, about_sources, about_tables,
    about_training,
)  # fmt: skip
ROWS = [
    pytest.param(place, *row, id=f"{place}-{number}")
    for table in TABLES
    for place, rows in table.ROWS.items()
    for number, row in enumerate(rows)
]
NO_MESSAGES = {  # texts of functions that raise, for figures and for patterns
    "distortion -E log p(x|z), nats", "rate KL(q(z|x) || p(z)), nats", "the model, with its encoder",
    "the worst reconstructions, the worst first", "the latent plane at the quantiles of N(0, I)",
    r"\{\{.*?\}\} ?| ?\[Op:\w+\]",
}  # fmt: skip
outcomes: dict = {}  # of the calls so far


def outcome(call):
    if call not in outcomes:
        with np.errstate(all="ignore"):
            outcomes[call] = sites.outcome(call)
    return outcomes[call]


def unpacked(call, message, kind=ValueError):
    return call, message, kind


@pytest.mark.parametrize("place, row", [pytest.param(p.values[0], p.values[1:], id=p.id) for p in ROWS])
def test_message(place, row):
    call, message, kind = unpacked(*row)
    found = outcome(call)
    assert found.kind is kind, f"{found.kind} {found.message}"
    assert re.search(message, found.message, re.DOTALL), found.message
    assert found.site is not None and found.site.place == place, found


def test_every_message_has_a_row():
    found = [outcome(unpacked(*param.values[1:])[0]) for param in ROWS]
    reached = {one.site for one in found}
    missing = {f"{site.place}, line {site.first}" for site in sites.sites() - reached}
    assert not missing, f"No row in tests/messages/ raises what is raised in {sorted(missing)}"
    unsaid = {(place, text) for place, text in sites.texts() if not any(text in one.message for one in found)}
    unsaid = {f"{place}: {text!r}" for place, text in unsaid if text not in NO_MESSAGES}
    assert not unsaid, f"No row in tests/messages/ brings these words: {sorted(unsaid)}"


def test_what_needs_a_row(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "part.py").write_text(
        "class A:\n"
        "    def f(self):\n        raise ValueError('no')\n"
        "    def g(self):\n        raise NotImplementedError\n"
        "def h():\n    warnings.warn('so')\n    raise KeyError\n"
        "def i(error):\n    try:\n        h()\n    except KeyError:\n        raise\n    raise error\n"
    )
    found = sorted((site.place, site.first) for site in sites.sites(tmp_path))
    assert found == [("deep.part.A.f", 3), ("deep.part.h", 7), ("deep.part.h", 8)]

"""The likelihood of a table's columns."""

from kvae.likelihoods.bernoulli import Bernoulli
from kvae.likelihoods.categorical import Categorical
from kvae.likelihoods.joint import Joint
from kvae.likelihoods.log_normal import LogNormal
from kvae.likelihoods.negative_binomial import NegativeBinomial
from kvae.likelihoods.normal import Normal
from kvae.likelihoods.ordinal import Ordinal

_MAKE = {
    "real": lambda levels: Normal(per="element"),
    "positive": lambda levels: LogNormal("learned"),
    "count": lambda levels: NegativeBinomial(),
    "binary": lambda levels: Bernoulli(),
    "categorical": Categorical,
    "ordinal": Ordinal,
}


def of_table(schema: dict, given: dict) -> Joint:
    """The `Joint` of a `kvae.data.Table`, by its schema, with other likelihoods for some kinds."""
    groups: dict[str, tuple[list, int, str]] = {}
    for i, column in enumerate(schema["columns"]):
        kind, levels = column["kind"], len(column["levels"] or ())
        name = f"{kind}_{levels}" if kind in ("categorical", "ordinal") else kind
        groups.setdefault(name, ([], levels, kind))[0].append(i)
    made = {
        name: (own, given[kind] if kind in given else _MAKE[kind](levels))
        for name, (own, levels, kind) in groups.items()
    }
    return Joint(made, schema=schema)

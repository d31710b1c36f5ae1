"""How much the codes of a data set tell of its examples."""

import numpy as np

from kvae.evaluate.estimates import Estimate, mean_of
from kvae.models.importance import ImportanceSampler


def code_entropy(vae, data) -> Estimate:
    """The entropy of the codes of a data set, nats: -mean log (n / N), n of N examples having an example's code.

    It is `rate`'s mutual information for a posterior over codes, at most log N; 0 where all have one code.
    """
    of = vae.posterior.of
    indices = [of(parameters).indices.numpy() for _, parameters in ImportanceSampler.of(vae).encoded(data)]
    _, which, counts = np.unique(np.concatenate(indices), axis=0, return_inverse=True, return_counts=True)
    return mean_of(-np.log(counts / len(which))[which.reshape(-1)])

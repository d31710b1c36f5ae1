"""Numbers and how they are computed: noise, distributions, divergences, compiled functions. It knows no model."""

"""Power series."""


def polynomial(x, coefficients):
    """sum_k c_k x^k, at least two terms, by Horner's rule: additions and multiplications alone."""
    value = coefficients[-1] * x
    for c in coefficients[-2:0:-1]:
        value = (value + c) * x
    return value + coefficients[0]

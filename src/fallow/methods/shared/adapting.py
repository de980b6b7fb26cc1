"""What methods that adapt a classifier to another place share."""


def risen(position: float, hold: float, full: float) -> float:
    """0 up to `hold`, then evenly up to 1 at `full`, and 1 from there.

    >>> [risen(t, 1, 3) for t in (0, 1, 2, 3, 9)]
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    if position >= full:
        return 1.0
    return max(0.0, (position - hold) / (full - hold))

"""One experiment per method, on real data, beside its baseline; verdicts are computed."""

"""How well fallow judges collections it has never seen, beside its peers, where truth is known."""

"""The verbs: one function each, returning a Result."""

"""Work on more machines than one: parts of a collection through Ray Data, and what joins them."""

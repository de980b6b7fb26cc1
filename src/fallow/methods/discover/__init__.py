"""Systems that sort everything when only some classes are labelled, and find the new ones."""

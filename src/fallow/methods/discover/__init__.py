"""Systems that sort images when only some classes are labelled, and count the new ones."""

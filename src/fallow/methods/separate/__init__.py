"""Systems that take one sound out of many, one file each."""

"""The studio: a local web page on what a collection or a run holds."""

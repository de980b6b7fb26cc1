"""Systems that bring together what belongs together: torn pieces, sketches and their photos."""

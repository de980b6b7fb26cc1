"""Systems that learn an encoder from unlabelled images."""

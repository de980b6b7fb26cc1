"""Systems that take images out of a trained model."""

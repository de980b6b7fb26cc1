"""Networks that turn images into vectors, with their preprocessing, saving and export."""

"""Vectors of images, many at once: unit length, neighbours, k-means, in bounded memory."""

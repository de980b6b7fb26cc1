"""Systems that keep published images from being learnt from."""

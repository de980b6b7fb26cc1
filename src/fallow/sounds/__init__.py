"""Recordings: read from sound and video files, as spectra and back."""

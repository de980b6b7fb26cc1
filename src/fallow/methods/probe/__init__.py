"""Protocols by which an encoder is asked, one file each."""

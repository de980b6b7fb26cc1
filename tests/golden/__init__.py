"""Fallow's numbers against those the papers' own implementations gave."""

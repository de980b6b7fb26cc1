"""How what ships with fallow was made."""

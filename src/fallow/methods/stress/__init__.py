"""Systems that test how much a model withstands, one file each."""

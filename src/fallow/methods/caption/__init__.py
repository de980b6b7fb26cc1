"""Systems that say in words what pictures show, one file each."""

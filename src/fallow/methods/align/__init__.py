"""Systems that bring pictures and the texts beside them into one space."""

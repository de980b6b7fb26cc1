"""Systems that say what a change of pictures is worth."""

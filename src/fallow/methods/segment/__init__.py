"""Systems behind `fallow.segment`: masks for all pictures from masks of a few."""

"""Systems behind `curate`: a collection one may publish, and what is said of its pictures."""

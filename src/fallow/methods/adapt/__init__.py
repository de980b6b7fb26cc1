"""Systems that carry a classifier over to another place, where nobody labels."""

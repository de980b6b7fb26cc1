"""Systems behind `fallow.pose`: where key points are, from pictures of which few are marked."""

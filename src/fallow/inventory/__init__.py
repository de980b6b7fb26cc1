"""What a collection holds: quality, duplicates, groups, outliers, suspect labels, a map."""

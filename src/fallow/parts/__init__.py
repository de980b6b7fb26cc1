"""What methods are made of: queues, teachers, masks of patches, orders, clusters."""

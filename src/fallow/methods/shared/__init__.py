"""What several systems of one verb share: their settings, their streams, how they are asked."""

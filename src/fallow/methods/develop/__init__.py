"""Systems that begin at the sensor: developing, translating and making raw frames."""

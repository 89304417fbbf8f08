"""For vendors: makes the package of a new connector, and says how good a connector is."""

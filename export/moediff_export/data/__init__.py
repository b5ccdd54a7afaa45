"""Training data: source volumes, random anatomy, the forward model of the scanner, and pairs."""

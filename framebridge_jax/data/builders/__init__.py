"""TFDS builders of the data sets that the package makes itself."""

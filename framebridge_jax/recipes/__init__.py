"""Default configs of the modes other than training."""

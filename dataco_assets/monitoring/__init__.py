"""What the platform says of itself: its state, for `dataco status`, and the same as metrics for Prometheus."""

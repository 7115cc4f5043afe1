"""Live: runs the streaming application, keeps its index, and gives readers its hours. No Dagster."""

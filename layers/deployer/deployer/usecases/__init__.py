"""What functions and the command both do: read through the adapters, then decide."""

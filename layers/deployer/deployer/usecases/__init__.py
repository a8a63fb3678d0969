"""Use cases that the functions and the command share: read through the adapters, then decide."""

"""The deployment: from a push or a manual request to a verified release, or back."""

"""`make deploy`: everything around the service and the deployer itself, set up by one command."""

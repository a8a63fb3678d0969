"""`deployer doctor`: what it finds in an account, and what it repairs."""

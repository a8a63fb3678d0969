"""What a spec is made from: a Dockerfile, a compose file, or answers; and what the account has."""

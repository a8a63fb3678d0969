"""The widget on a CloudWatch dashboard: what it shows, and what its buttons request."""

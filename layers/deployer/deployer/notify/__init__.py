"""What GitHub, Slack and webhooks get of a release, made from its event. Knows no AWS."""

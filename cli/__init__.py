"""What a person at a terminal uses: one module per command, and what the commands share."""

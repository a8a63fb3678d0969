"""The publication of a documentation site from uploaded sources."""

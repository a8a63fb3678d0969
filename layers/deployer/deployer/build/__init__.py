"""The build of an image from an uploaded source archive."""

"""The dump format: writing and reading."""

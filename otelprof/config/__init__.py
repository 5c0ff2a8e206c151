"""The user's YAML: loading, models, and every error explained at once."""

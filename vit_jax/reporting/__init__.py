"""A finished run as a page and as a model card."""

"""Weights in and out of this project."""

"""What the demo shows in a browser, and to whom it answers."""

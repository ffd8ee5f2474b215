"""Many runs of one recipe: what is tried, where that is kept, and what came of it."""

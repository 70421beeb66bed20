"""Places where notebooks and programs run, each for real: a user signs in by what the screen says."""

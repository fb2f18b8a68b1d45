"""Training, comparing and opening runs from Python, as the command line does."""

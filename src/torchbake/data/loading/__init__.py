"""How images reach the model."""

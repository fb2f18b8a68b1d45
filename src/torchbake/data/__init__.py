"""Images: where they come from, how they are augmented, how they reach the model."""

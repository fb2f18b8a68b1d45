"""A local page on which one drops a picture: predictions, and the training images most alike."""

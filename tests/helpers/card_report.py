"""What writes a finished run's page, for tests of where runs are placed."""

import os


def note_card(folders, path, console):
    """Write which GPUs the run's process sees, in place of a page."""
    path.with_name("card.txt").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))

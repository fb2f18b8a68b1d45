"""Which method is worth it on somebody's data, found out within a given time."""

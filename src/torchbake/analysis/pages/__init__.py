"""HTML pages: the report and the inspector."""

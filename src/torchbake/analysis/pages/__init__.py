"""HTML pages: report and inspector."""

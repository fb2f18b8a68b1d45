"""Publishers' files and packed images; nothing that training imports."""

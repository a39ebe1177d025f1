"""Writers of small files with the exact layouts, and the traps, of published datasets."""

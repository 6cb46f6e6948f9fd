"""The reference, generated from the code and the data files: one module for each page, Markdown throughout."""

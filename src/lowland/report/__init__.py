"""Reports: from records and evidence to blocks of text and tables, and their renderers."""

"""What the documents say is run: every code block, every notebook cell, every command."""

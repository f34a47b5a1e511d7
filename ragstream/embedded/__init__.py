"""What stands in for servers where none is named: a journal before the in-process broker, and a door for other commands."""

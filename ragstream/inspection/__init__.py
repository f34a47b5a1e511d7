"""What the index holds and how far it is, for `status` and `inspect`: read from the log and from views, changing neither."""

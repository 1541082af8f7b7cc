"""What is kept: the log of every stream, what is derived from it, and who may touch it."""

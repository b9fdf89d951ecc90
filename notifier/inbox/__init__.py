"""The inbox of a user: what is in it, what is done with it, and how connections learn of it."""

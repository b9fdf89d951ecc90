"""The live connections of clients, from the socket up."""

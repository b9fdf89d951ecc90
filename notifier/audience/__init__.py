"""The recipients: members of topics, and users."""

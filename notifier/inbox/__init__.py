"""The inboxes of users: states, lists and actions, and what connections are sent about them."""

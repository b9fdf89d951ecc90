"""The authentication of users: tokens, the keys of their issuers, and revocations."""

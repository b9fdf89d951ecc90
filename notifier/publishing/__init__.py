"""A publication, from the request to its answer, and its receipts."""

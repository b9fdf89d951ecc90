"""Publications, from the request to the answer; receipts and explanations."""

"""From what Redis carries to every connection: subscribing, fan-out and catching up."""

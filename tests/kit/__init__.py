"""Helpers of tests that are not tests: services, peers, proxies, browsers."""

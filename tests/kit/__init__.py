"""What tests use and is no test: services, peers, proxies, browsers."""

"""Test support for applications that use Notifier: pytest fixtures that come with the package. See docs/client.md.

def test_order(notifier_service):                  # a real service with its own Valkey
    shop = Shop(NotifierClient(notifier_service.url, api_key=notifier_service.api_key))
    with notifier_service.listen("alice") as stream:
        shop.ship(order=1042, to="alice")
        assert next(stream).notification["title"] == "On its way"

def test_order_quickly(recording_notifier):        # a client that only records
    Shop(recording_notifier).ship(order=1042, to="alice")
    assert recording_notifier.published[0]["title"] == "On its way"
"""

"""Every route and page: the only room that knows Flask and Werkzeug."""

"""The routes, one module per resource: `http/app.py` registers their blueprints."""

"""The process: gunicorn, its worker class, the embedded Valkey and development mode."""

# For a shell in the project's folder: where the service of `make run` is, and its secrets. Read it by `.`
export NOTIFIER_URL=http://127.0.0.1:8080
export NOTIFIER_API_KEY="$(cat .notifier/api-key)"
export NOTIFIER_TOKEN_SECRETS="$(cat .notifier/token-secret)"
export PYTHONPATH=. # finds notifier.client; not needed where the package is installed
# Streamlit: for this machine only, and without questions and statistics.
export STREAMLIT_SERVER_ADDRESS=127.0.0.1 STREAMLIT_SERVER_HEADLESS=1 STREAMLIT_BROWSER_GATHER_USAGE_STATS=0

# Settings for a shell in the project's folder: the address and the secrets of `make run`. Source it with `.`
export NOTIFIER_URL=http://127.0.0.1:8080
export NOTIFIER_API_KEY="$(cat .notifier/api-key)"
export NOTIFIER_TOKEN_SECRETS="$(cat .notifier/token-secret)"
export PYTHONPATH=. # finds notifier.client; not needed if the package is installed
# Streamlit: on this machine only, without prompts and statistics.
export STREAMLIT_SERVER_ADDRESS=127.0.0.1 STREAMLIT_SERVER_HEADLESS=1 STREAMLIT_BROWSER_GATHER_USAGE_STATS=0

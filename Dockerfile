# The image of the service. It runs as a user without rights, and with a read-only root file system if /tmp is a tmpfs:
#
#     docker build --tag notifier .
#     docker run --read-only --tmpfs /tmp --cap-drop ALL --publish 127.0.0.1:8080:8080 --env-file notifier.env notifier
#
# compose.yaml adds Valkey. docs/deploy.md describes both, and says how these steps are tested without Docker.

FROM python:3.13-slim-trixie AS build
WORKDIR /build
COPY requirements.txt .
RUN python3 -m venv /opt/notifier
RUN /opt/notifier/bin/python -m pip install --no-cache-dir --disable-pip-version-check --only-binary :all: \
        --require-hashes -r requirements.txt \
    && /opt/notifier/bin/python -m pip uninstall --yes --quiet pip
COPY notifier notifier
RUN cp -r notifier "$(/opt/notifier/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && /opt/notifier/bin/python -m compileall -q /opt/notifier/lib \
    && printf '#!/bin/sh\nexec /opt/notifier/bin/python -m notifier "$@"\n' >/opt/notifier/bin/notifier \
    && chmod 0755 /opt/notifier/bin/notifier

FROM python:3.13-slim-trixie
# The data directory is used only without NOTIFIER_REDIS_URL, by the embedded Valkey: mount a volume there.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin notifier \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/notifier
COPY --from=build /opt/notifier /opt/notifier
ENV PATH=/opt/notifier/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    NOTIFIER_BIND=0.0.0.0:8080 \
    NOTIFIER_DATA_DIR=/var/lib/notifier
WORKDIR /var/lib/notifier
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# /healthz, and not /readyz: a restart does not help if Redis is away, and costs all connections.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["notifier"]
CMD ["serve"]

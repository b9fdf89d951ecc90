"""A live dashboard in Streamlit: it shows the readings of sensor.py as they arrive.

    make run    # in another terminal
    .venv/bin/pip install -r examples/requirements.txt
    . examples/environment.sh && .venv/bin/streamlit run examples/dashboard.py --server.port 8501

One thread listens for all viewers, and each browser redraws twice a second.
"""

import os
import threading
import time
from collections import deque
from datetime import datetime

import jwt
import streamlit as st

from notifier.client import NotifierClient, NotifierError, Received


class Readings:
    """The latest readings, and the reason if no new ones arrive."""

    def __init__(self) -> None:
        self.latest: deque[dict] = deque(maxlen=300)
        self.problem = ""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            an_hour_ago = f"{int((time.time() - 3600) * 1000)}-0"  # to get the latest reading of each sensor at once
            try:
                with NotifierClient().listen(["readings"], an_hour_ago, get_token=token) as stream:
                    self.problem = ""
                    for event in stream:
                        if isinstance(event, Received):
                            self.latest.append(event.notification["data"])
            except NotifierError as error:
                self.problem = str(error)
                time.sleep(5)


def token() -> str:
    """Return a token for the dashboard."""
    now = int(time.time())
    claims = {"sub": "dashboard", "iat": now, "exp": now + 3600, "topics": ["readings"]}
    return jwt.encode(claims, os.environ["NOTIFIER_TOKEN_SECRETS"].split(",")[0], algorithm="HS256")


@st.cache_resource
def readings() -> Readings:
    """Return the readings: the same for all browsers."""
    return Readings()


@st.fragment(run_every=0.5)
def show() -> None:
    """Draw the readings received so far."""
    if readings().problem:
        st.error(readings().problem)
    latest = list(readings().latest)
    if not latest:
        st.info("Waiting for a reading.")
        return
    for sensor in sorted({reading["sensor"] for reading in latest}):
        own = [reading for reading in latest if reading["sensor"] == sensor]
        st.metric(sensor, f"{own[-1]['celsius']:.2f} °C")
        st.line_chart({datetime.fromtimestamp(reading["at"]): reading["celsius"] for reading in own})


st.title("Readings")
show()

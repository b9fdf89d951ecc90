"""FastAPI and an outbox: the notification is stored in the transaction of the order, and published from the outbox.

    make run    # in another terminal
    .venv/bin/pip install -r examples/requirements.txt
    . examples/environment.sh && .venv/bin/uvicorn --app-dir examples fastapi_orders:app --port 5003

    curl -X POST "http://127.0.0.1:5003/orders?user=alice&item=Lamp"

After any failure in between, the notification is published later, and only once: its row has an idempotency key.
This also holds with several processes.
"""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from fastapi import FastAPI
from sqlalchemy import JSON, create_engine, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from notifier.client import NotifierClient, NotifierError, ProblemError


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user: Mapped[str]
    item: Mapped[str]


class Outgoing(Base):
    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(primary_key=True)
    notification: Mapped[dict] = mapped_column(JSON)
    key: Mapped[str] = mapped_column(default=lambda: str(uuid4()))


engine = create_engine("sqlite:///shop.db")
Base.metadata.create_all(engine)
committed = threading.Event()


def serve_outbox() -> None:
    """Publish rows as soon as they are committed. Every ten seconds, look for rows that other processes have left."""
    with NotifierClient() as notifier:
        while True:
            try:
                publish_all(notifier)
            except NotifierError as error:
                logging.warning("The outbox waits: %s", error)
            committed.wait(10)
            committed.clear()


def publish_all(notifier: NotifierClient) -> None:
    """Publish the waiting rows, in order. Invalid notifications are logged and dropped."""
    with Session(engine, expire_on_commit=False) as session:
        for outgoing in session.scalars(select(Outgoing).order_by(Outgoing.id)).all():
            try:
                notifier.publish(outgoing.notification, idempotency_key=outgoing.key)
            except ProblemError as problem:
                if problem.code != "invalid_notification":
                    raise
                logging.error("Given up: %s: %s", problem, outgoing.notification)
            session.execute(delete(Outgoing).where(Outgoing.id == outgoing.id))
            session.commit()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    threading.Thread(target=serve_outbox, daemon=True).start()
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=201)
def create_order(user: str, item: str) -> dict[str, int]:
    """Store an order and its notification in one transaction."""
    with Session(engine) as session, session.begin():
        order = Order(user=user, item=item)
        notification = {"to": {"users": [user]}, "type": "order.created", "title": f"We have your order: {item}"}
        session.add_all([order, Outgoing(notification=notification)])
        session.flush()
        answer = {"id": order.id}
    committed.set()
    return answer

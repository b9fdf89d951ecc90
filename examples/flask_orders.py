"""Flask and SQLAlchemy: publish when the transaction has been committed, and never for one that was rolled back.

    make run    # in another terminal
    .venv/bin/pip install -r examples/requirements.txt
    . examples/environment.sh && .venv/bin/flask --app examples/flask_orders.py run --port 5002

    curl http://127.0.0.1:5002/orders -d user=alice -d item=Lamp

A crash between commit and publication loses the notification; fastapi_orders.py shows an outbox, which does not.
"""

import logging

from flask import Flask, jsonify, request
from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from notifier.client import NotifierClient, NotifierError


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user: Mapped[str]
    item: Mapped[str]


app = Flask(__name__)
engine = create_engine("sqlite:///orders.db")
Base.metadata.create_all(engine)
notifier = NotifierClient(deadline=5)  # one per process, because it keeps its connections open


def notify(session: Session, **notification) -> None:
    """Publish when the session commits."""
    session.info.setdefault("notifications", []).append(notification)


@event.listens_for(Session, "after_commit")
def publish(session: Session) -> None:
    """Publish the notifications of the transaction. The order is kept even if that fails."""
    for notification in session.info.pop("notifications", []):
        try:
            notifier.publish(notification)
        except NotifierError:
            logging.exception("not published: %s", notification)


@event.listens_for(Session, "after_soft_rollback")
def forget(session: Session, previous_transaction) -> None:
    """Drop the notifications of a transaction that was rolled back."""
    session.info.pop("notifications", None)


@app.post("/orders")
def create_order():
    """Take an order; one without an item is rolled back."""
    with Session(engine) as session, session.begin():
        order = Order(user=request.form["user"], item=request.form.get("item"))
        session.add(order)
        notify(session, to={"users": [order.user]}, type="order.created", title=f"We have your order: {order.item}")
        session.flush()
        return jsonify(id=order.id), 201

"""Django: publish when the transaction has been committed, and never for one that was rolled back.

    make run    # in another terminal
    .venv/bin/pip install -r examples/requirements.txt
    . examples/environment.sh && .venv/bin/python examples/django_orders.py runserver --noreload 5004

    curl http://127.0.0.1:5004/orders -d user=alice -d item=Lamp

A whole project in one file; the relevant part is `create_order`. A crash between commit and publication loses the
notification; fastapi_orders.py shows an outbox, which does not.
"""

import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import connection, models, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from notifier.client import NotifierClient

settings.configure(
    DEBUG=True,
    SECRET_KEY="only for trying out",
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "django.db"}},
)
django.setup()
notifier = NotifierClient(deadline=5)  # one per process, because it keeps its connections open


class Order(models.Model):
    id = models.BigAutoField(primary_key=True)
    user = models.CharField(max_length=128)
    item = models.CharField(max_length=128, null=False)

    class Meta:
        app_label = "orders"


@csrf_exempt
@transaction.atomic
def create_order(request: HttpRequest) -> JsonResponse:
    """Take an order; one without an item is rolled back."""

    def publish() -> None:
        notifier.publish(to={"users": [user]}, type="order.created", title=f"We have your order: {order.item}")

    user = request.POST["user"]
    transaction.on_commit(publish, robust=True)  # robust: the order is kept even if publishing fails
    order = Order.objects.create(user=user, item=request.POST.get("item"))
    return JsonResponse({"id": order.id}, status=201)


urlpatterns = [path("orders", create_order)]

if __name__ == "__main__":
    if Order._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Order)
    execute_from_command_line(sys.argv)

"""`tacit webhook`: be told of events at a URL of yours."""

from typing import Annotated

import typer

from tacit.cli.console import connect, err, new_app, out, print_json, print_table

app = new_app("Be told of events at a URL of yours, signed as Standard Webhooks has it.")

Webhook = Annotated[str, typer.Argument(help="Id of the webhook.")]


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="Where to send: https://…")],
    event: Annotated[
        list[str], typer.Option("--event", "-e", help="upload.ready, upload.failed; for owners budget.low, tally.closed. Repeat.")
    ],
) -> None:
    """Register a URL; the secret to verify with goes to standard output, once."""
    with connect() as client:
        made = client.create_webhook(url, event)
    _show_secret(made["id"], made["secret"])


@app.command("list")
def list_all() -> None:
    """List your webhooks."""
    with connect() as client:
        lines = [(one["id"], one["state"], ", ".join(one["events"]), one["url"]) for one in client.list_webhooks()]
    print_table(("id", "state", "events", "url"), lines)


@app.command()
def show(webhook: Webhook) -> None:
    """Print a webhook with its newest deliveries."""
    with connect() as client:
        print_json(client.get_webhook(webhook))


@app.command()
def test(webhook: Webhook) -> None:
    """Send a test event now, and print what came back; exits with 1 if it was not taken."""
    with connect() as client:
        told = client.test_webhook(webhook)
    print_json(told)
    raise typer.Exit(0 if told["delivered"] else 1)


@app.command()
def rotate(webhook: Webhook) -> None:
    """Make a new secret, printed once; the one before signs along for a day."""
    with connect() as client:
        made = client.rotate_webhook(webhook)
    _show_secret(made["id"], made["secret"])


@app.command()
def retry(webhook: Webhook, delivery: Annotated[str, typer.Argument(help="Id of a delivery that was given up.")]) -> None:
    """Try a delivery again that was given up."""
    with connect() as client:
        print_json(client.retry_delivery(webhook, delivery))


@app.command()
def delete(webhook: Webhook) -> None:
    """Forget a webhook and what waits for it."""
    with connect() as client:
        client.delete_webhook(webhook)


def _show_secret(webhook: str, secret: str) -> None:
    out.print(secret, markup=False)
    err.print(
        f"Webhook {webhook}. This is its secret: keep it where your receiver reads it; it is not shown again.", markup=False
    )

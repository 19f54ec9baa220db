"""The `tacit` command: what a partner, an analyst or a key owner does at a terminal."""

from tacit.cli import audit, disclosure, jobs, keys, questions, rows, subjects, tallies, verifying, webhooks
from tacit.cli.console import new_app

app = new_app("Send data in, ask private questions, add up numbers nobody can read. Set TACIT_URL and TACIT_TOKEN first.")
app.command()(rows.upload)
app.command()(rows.infer)
app.command()(rows.export)
app.command()(disclosure.risk)
app.command("open")(rows.open_sealed)
app.command()(questions.ask)
app.command()(questions.price)
app.command()(questions.budget)
app.command()(verifying.verify)
app.add_typer(tallies.app, name="tally")
app.add_typer(keys.app, name="key")
app.add_typer(jobs.app, name="job")
app.add_typer(webhooks.app, name="webhook")
app.add_typer(audit.app, name="audit")
app.add_typer(subjects.app, name="subject")

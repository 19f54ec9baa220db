"""What the README shows is what happens."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tour_by_hand_runs_as_it_stands(small_world, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = code.replace("http://127.0.0.1:8000", small_world.url).replace("tacit_…", small_world.tokens["operator"])
    scope: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), scope)
    for name in ("operator", "owner", "partner", "analyst"):
        scope[name].close()
    shown = capsys.readouterr().out
    assert "Cost: epsilon 0.5" in shown
    assert "hours_low" in shown
    assert shown.rstrip().endswith("True")


def test_relative_links_of_the_documents_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert broken == []

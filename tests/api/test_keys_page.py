"""What docs/keys.md shows is what happens."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "keys.md"


def test_every_example_of_the_page_prints_what_its_comment_says(small_world, capsys):
    scope: dict[str, object] = {
        "owner": small_world.owner,
        "service": small_world.service,
        "service_id": small_world.ids["service"],
    }
    pieces = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(pieces) == 7
    for piece in pieces:
        exec(compile(piece, str(PAGE), "exec"), scope)
        (expected,) = re.findall(r"^print\(.*\)  # (.*)$", piece, re.MULTILINE)
        assert capsys.readouterr().out.strip() == expected

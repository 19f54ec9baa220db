"""docs/techniques.md against the code: every technique has its section and its row, every example is a policy."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from app.deidentification.policy import Policy
from app.deidentification.policy_form import LATER
from app.deidentification.techniques import Technique
from app.table.schema import Schema

PAGE = (Path(__file__).parents[2] / "docs" / "techniques.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES = [
    (name, json.loads(line))
    for name, section in SECTIONS.items()
    for block in re.findall(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


def test_every_technique_has_one_section_and_one_row() -> None:
    names = {technique.name for technique in get_args(Technique)}
    assert set(SECTIONS) == names
    rows = re.findall(r"^\| \[(\w+)\]\(#(\w+)\) \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted((name, name) for name in names)
    assert not names & LATER


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_it_is_called_what_it_protects_and_what_not(name: str) -> None:
    for words in ("*ISO/IEC 20889: ", "Protects: ", "Does not protect: "):
        assert words in SECTIONS[name]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[f"{name}-{place}" for place, (name, _) in enumerate(EXAMPLES)])
def test_every_example_is_a_policy(name: str, example: dict[str, dict[str, object]]) -> None:
    other = {"name": "other", "type": "integer"}
    schema = Schema.from_json([other, example["column"]])
    column = schema.columns[1]
    policy = Policy.from_json({"other": {"technique": "keep"}, column.name: example["technique"]}, schema)
    assert policy.techniques[column.name].name == name


def test_every_form_of_every_technique_has_an_example() -> None:
    schema = Schema.from_json([{"name": "other", "type": "integer"}])
    kinds = set()
    for _, example in EXAMPLES:
        schema = Schema.from_json([{"name": "other", "type": "integer"}, example["column"]])
        policy = Policy.from_json({"other": {"technique": "keep"}, schema.names[1]: example["technique"]}, schema)
        kinds.add(type(policy.techniques[schema.names[1]]))
    assert kinds == set(get_args(Technique))

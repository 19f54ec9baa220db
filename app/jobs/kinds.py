"""The kinds of jobs there are, by the name that stands in a job's row."""

from collections.abc import Mapping

from app.jobs.runner import Kind

KINDS: Mapping[str, Kind] = {}

"""Requests that AWS was seen to refuse, replayed: one JSON object a line, with the sentence."""

import json
from pathlib import Path

from windlass import TARGET

LINES = Path(__file__).parents[2] / "crates/wire/tests/fixture/sentences.jsonl"


def plain(text):
    for quote in "‘’'":
        text = text.replace(quote, "?")
    return text.rstrip(".")


def is_alike(sentence, said):
    """A sentence that begins in lower case is a part of one."""
    sentence, said = plain(sentence), plain(said)
    return said.endswith(sentence) if sentence.startswith("should ") else said == sentence


def test_requests_are_refused_in_the_words_of_aws(windlass):
    other = []
    lines = [json.loads(line) for line in LINES.read_text().splitlines()]
    for given in {json.dumps(line["given"]) for line in lines if "given" in line}:
        answer = windlass.raw(f"{TARGET}.RegisterTaskDefinition", json.loads(given))
        assert answer.status == 200, answer.message
    for line in lines:
        answer = windlass.raw(f"{TARGET}.{line['operation']}", line["request"])
        if answer.status == 200:
            other.append((line["sentence"], "taken"))
        elif answer.code != line["code"] or not is_alike(line["sentence"], answer.message):
            other.append((line["sentence"], f"{answer.code}: {answer.message}"))
    assert other == [], f"{len(other)} of {len(lines)}"

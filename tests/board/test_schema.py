"""The exported schemas are those of the models."""

from pathlib import Path

from harness.board.schema import FILES, schema

FOLDER = Path(__file__).parents[2] / "leaderboards" / "schema"


def test_exported_schemas_are_current():
    """After a deliberate change: python -c 'from harness.board.schema import *; write_schemas(FOLDER)'."""
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == {name: schema(name) for name in FILES}

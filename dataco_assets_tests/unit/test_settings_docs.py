"""Tests that docs/settings.md lists every setting exactly as in the code."""

from pathlib import Path

from pydantic import SecretStr

from dataco_assets.settings import Settings, variable

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = "| Variable | Default | Meaning |\n|---|---|---|\n"


def table() -> str:
    """The table as it must be in the page: one line per variable, in the order of the class."""
    return HEAD + "".join(
        f"| {variable(name)} | {_default(name)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    )


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "see there"
    default = field.default
    text = default.get_secret_value() if isinstance(default, SecretStr) else str(default)
    return f"`{text}`" if text else "empty"


def test_the_page_has_the_table_of_the_code() -> None:
    rows = [line for line in PAGE.read_text().splitlines(keepends=True) if line.startswith("|")]
    assert "".join(rows) == table(), f"The table in docs/settings.md must be:\n\n{table()}"


def test_no_cell_breaks_the_table() -> None:
    assert all(line.count("|") == 4 for line in table().splitlines())


def test_a_description_made_at_run_time_says_its_default() -> None:
    for field in Settings.model_fields.values():
        if field.default_factory is not None:
            assert "Default:" in (field.description or "")

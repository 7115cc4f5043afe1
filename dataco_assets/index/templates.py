"""Index templates on the server: the platform's own, and others that would take precedence over them.

Of all composable templates whose patterns match a new index, Elasticsearch silently applies only the one with the
highest priority. A foreign template can therefore determine an index's layout without any error.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from dataco_assets.elasticsearch_errors import shortened
from dataco_assets.index.indices import Index, IndexMismatch, listed
from dataco_assets.index.layout import IndexName, alias_variable, differences, matches, template_bodies
from dataco_assets.settings import Settings


class ForeignTemplate(IndexMismatch):
    """An index template that is not the platform's takes precedence over the platform's."""


def put_templates(index: Index, settings: Settings) -> None:
    """Creates or replaces the platform's templates of an alias."""
    for name, body in template_bodies(settings, index.aggregate).items():
        index.client.indices.put_index_template(name=name, **body)


def check_templates(index: Index, settings: Settings) -> None:
    """Compares the platform's templates of an alias with what this version and its settings expect.

    Raises:
        IndexMissing: one does not exist.
        IndexMismatch: one differs.
    """
    for name, expected in template_bodies(settings, index.aggregate).items():
        (found,) = index.client.indices.get_index_template(name=name)["index_templates"]
        stored = found["index_template"]
        # Keys that a later Elasticsearch adds are ignored, but components are compared because they change the mapping.
        lines = differences(
            {**expected, "composed_of": []}, {key: stored.get(key) for key in (*expected, "composed_of")}
        )
        if lines:
            raise IndexMismatch(
                f"Index template {name} differs from what this version and its settings expect: {listed(lines)}. "
                "`dataco index rebuild` replaces it and all indices without a gap for readers."
            )


def check_precedence(index: Index, settings: Settings, names: Iterable[IndexName]) -> None:
    """Checks that no other template would apply to new indices.

    Args:
        index: The alias.
        settings: Shards, replicas.
        names: Names of the indices to be created.

    Raises:
        ForeignTemplate: one would; the message names it.
    """
    found = index.client.indices.get_index_template()["index_templates"]
    present = {each["name"]: each["index_template"] for each in found}
    own = template_bodies(settings, index.aggregate)
    for name in names:
        winner = winning_template(present, str(name))
        if winner is None or winner in own:
            continue
        template = present[winner]
        raise ForeignTemplate(
            f"Index template {shortened(winner)} (patterns {shortened(', '.join(template['index_patterns']))}; "
            f"priority {template.get('priority', 0)}) takes precedence over the platform's (priority "
            f"{_own_priority(own, str(name))}) for index {name}, which would not get this version's layout. Nothing "
            "was created or replaced. Narrow the patterns of that template or lower its priority, or choose another "
            f"{alias_variable(index.aggregate)}."
        )


def winning_template(templates: Mapping[str, Mapping[str, Any]], index: str) -> str | None:
    """Name of the composable template that Elasticsearch would apply to a new index; None if none matches.

    Args:
        templates: All templates by name, each with `index_patterns` and, unless it is 0, `priority`.
        index: Name of the index.
    """
    matching = [name for name, body in templates.items() if matches(body["index_patterns"], index)]
    return max(matching, key=lambda name: templates[name].get("priority") or 0, default=None)


def _own_priority(own: Mapping[str, Mapping[str, Any]], index: str) -> int:
    name = winning_template(own, index)
    return int(own[name]["priority"]) if name is not None else 0

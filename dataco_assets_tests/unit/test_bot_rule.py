"""Tests the rule about bots: what it consists of, when two are the same, and how settings name it."""

import pytest

from dataco_assets.clicks.bot_agents import AGENTS
from dataco_assets.clicks.bots import BotRule
from dataco_assets.settings import Settings, SettingsError


def test_the_list_has_each_family_once_and_none_that_people_use() -> None:
    assert len(set(AGENTS)) == len(AGENTS)
    assert all(agent == agent.strip() and agent.isprintable() and "," not in agent for agent in AGENTS)
    assert {"Spider", "Googlebot", "bingbot", "HeadlessChrome", "curl"} <= set(AGENTS)
    assert not {"", "Other", "Chrome", "Firefox", "Safari", "Mobile Safari", "Edge", "okhttp"} & set(AGENTS)


def test_rules_that_mark_the_same_clicks_have_one_fingerprint() -> None:
    rule = BotRule.of(["b", "a"], 60)
    assert rule.fingerprint == BotRule.of(["a", "b", "a", AGENTS[0]], 60).fingerprint
    others = [BotRule.of(["a"], 60), BotRule.of(["b", "a"], 61), BotRule.of(["a, b"], 60), BotRule.of(["b", "A"], 60)]
    assert len({each.fingerprint for each in (rule, *others)}) == 5


def test_the_settings_name_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().bot_rule == BotRule(frozenset(AGENTS), 60)
    monkeypatch.setenv("DATACO_BOT_AGENTS", " our-monitor ,Let's Encrypt validation server, ")
    monkeypatch.setenv("DATACO_BOT_CLICKS_PER_MINUTE", "0")
    rule = Settings.load().bot_rule
    assert rule == BotRule(frozenset(AGENTS) | {"our-monitor", "Let's Encrypt validation server"}, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATACO_BOT_AGENTS", "a\nb"),
        ("DATACO_BOT_AGENTS", "a,,b"),
        ("DATACO_BOT_AGENTS", "x" * 101),
        ("DATACO_BOT_CLICKS_PER_MINUTE", "-1"),
        ("DATACO_BOT_CLICKS_PER_MINUTE", "many"),
    ],
)
def test_what_is_no_rule_is_refused_by_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        Settings.load()

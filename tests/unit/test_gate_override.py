"""Overrides: which comments ask for one, who gets it, and what it bears on until when."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otelprof.errors import PermanentError
from otelprof.gate.audit import append, read, verify
from otelprof.gate.override import (
    EVENT,
    Override,
    Request,
    Scope,
    active,
    by_hand,
    covering,
    data,
    ends,
    is_taken,
    overrides,
)
from otelprof.gate.override_comment import (
    Approver,
    CommentEvent,
    near_miss,
    of_comment,
    parse_approvers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORDED = Path(__file__).parents[1] / "data" / "github" / "issue_comment.created.json"
APPROVERS = parse_approvers("approver\nother-approver 1003\n")
SAID = datetime(2026, 11, 24, 10, tzinfo=UTC)


def event(changes: Mapping[str, Any] | None = None) -> CommentEvent:
    """The recorded event, with some of its keys changed: `comment.body` and so on."""
    content = json.loads(RECORDED.read_bytes())
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        place = content
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return CommentEvent.parse(json.dumps(content).encode())


def asked(changes: Mapping[str, Any] | None = None) -> Override | None:
    """What the event asks for."""
    return of_comment(event(changes), APPROVERS)


def test_a_comment_of_an_approver_overrides() -> None:
    """The recorded comment: for its pull request, for 14 days from when it was said, by whom it says."""
    assert (
        Override(
            reason="the second score is what the customer asked for",
            by="approver",
            by_id=1002,
            source="comment",
            url="https://github.com/owner/name/pull/7#issuecomment-9001",
            comment_id=9001,
            repository="owner/name",
            pull_request=7,
            since=SAID,
            until=SAID + timedelta(days=14),
        )
        == asked()
    )


def test_a_comment_says_for_what_and_until_when() -> None:
    """The lines below the command limit it; what is behind an empty line is prose."""
    body = (
        "/perf-override asked for by the customer\r\nuntil: 7d\r\nfunction: main.scoreItems\r\n"
        "function: main.(*cache).get\r\ncommit: 0123456789abcdef\r\n\r\nuntil: never mind\r\n"
    )
    found = asked({"comment.body": body})
    assert found is not None
    assert (
        "asked for by the customer",
        SAID + timedelta(days=7),
        ("main.scoreItems", "main.(*cache).get"),
        "0123456789abcdef",
    ) == (found.reason, found.until, found.functions, found.commit)


NOT_ASKED = {
    "other words": "Looks good to me.",
    "nothing": "",
    "quoted": "> /perf-override the second score\n\nI would not.",
    "in a code block": "```\n/perf-override the second score\n```",
    "in code": "`/perf-override the second score`",
    "behind spaces, as code": "    /perf-override the second score",
    "hidden": "<!--\n/perf-override the second score\n-->\nLooks good to me.",
    "behind a greeting": "@author\n/perf-override the second score",
    "behind an empty line": "\n/perf-override the second score",
    "within a line": "Should I say /perf-override here?",
    "another case": "/Perf-Override the second score",
    "all capitals": "/PERF-OVERRIDE the second score",
    "a longer word": "/perf-overrides the second score",
    "a tab": "/perf-override\tthe second score",
    "a space that is none": "/perf-override\N{NO-BREAK SPACE}the second score",
    "a letter of another alphabet": "/perf-\N{CYRILLIC SMALL LETTER O}verride the second score",
}


@pytest.mark.parametrize("body", NOT_ASKED.values(), ids=NOT_ASKED)
def test_what_only_looks_like_it_asks_for_nothing(body: str) -> None:
    """A quotation, an example, something hidden and a command that is written otherwise ask for nothing."""
    assert asked({"comment.body": body}) is None


def test_a_near_miss_is_told() -> None:
    """Who wrote the command where it is not taken is told so; who did not mean it is not."""
    missed = {name for name, body in NOT_ASKED.items() if near_miss(body) is not None}
    assert set(NOT_ASKED) - {"other words", "nothing", "a letter of another alphabet"} == missed
    assert "line 2 reads '/perf-override" in (near_miss(NOT_ASKED["behind a greeting"]) or "")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "by the author": (
        {"comment.user": {"login": "author", "id": 1001, "type": "User"}, "sender.id": 1001},
        "is the author",
    ),
    "by the author, who is an approver under a new name": (
        {"comment.user.id": 1001, "sender.id": 1001},
        "is the author",
    ),
    "by the author's name in another case": ({"issue.user.login": "Approver"}, "is the author"),
    "by nobody known": (
        {"comment.user": {"login": "stranger", "id": 1009, "type": "User"}, "sender.id": 1009},
        "none of the 2 approvers of the base branch",
    ),
    "by a name that looks alike": ({"comment.user.login": "appr0ver"}, "none of the 2 approvers"),
    "by a name in another alphabet": (
        {"comment.user.login": "\N{CYRILLIC SMALL LETTER A}pprover"},
        "none of the 2 approvers",
    ),
    "by a name with something behind": ({"comment.user.login": "approver-2"}, "none of the 2 approvers"),
    "by a name that was given up": (
        {"comment.user": {"login": "other-approver", "id": 2000, "type": "User"}, "sender.id": 2000},
        "(account 2000) is none of the 2 approvers",
    ),
    "by a bot": ({"comment.user.type": "Bot"}, "only a person may"),
    "by a bot that is called so": ({"comment.user.login": "approver[bot]"}, "none of the 2 approvers"),
    "by an organisation": ({"comment.user.type": "Organization"}, "only a person may"),
    "by an app for a person": ({"comment.performed_via_github_app": {"id": 5}}, "only a person may"),
    "sent by somebody else": ({"sender.id": 1001, "sender.login": "author"}, "author did"),
    "edited": ({"action": "edited"}, "was edited"),
    "edited before it was read": ({"comment.updated_at": "2026-11-24T10:00:09Z"}, "was edited"),
    "deleted": ({"action": "deleted"}, "was deleted"),
    "on an issue": ({"issue.pull_request": None}, "is no pull request"),
    "on what is closed": ({"issue.state": "closed"}, "is closed"),
    "without a reason": ({"comment.body": "/perf-override"}, "reason is missing"),
    "without words": ({"comment.body": "/perf-override  ..."}, "reason is missing"),
    "with a reason that is too long": ({"comment.body": "/perf-override " + "x" * 501}, "1 to 500"),
    "with an escape": ({"comment.body": "/perf-override x\x1b[2J"}, "printable"),
    "twice": (
        {"comment.body": "/perf-override one\n\n/perf-override two"},
        "stands there twice",
    ),
    "with lines that are no options": ({"comment.body": "/perf-override one\nand more"}, "line 2 reads"),
    "with an option misspelt": ({"comment.body": "/perf-override one\nuntill: 7d"}, "line 2 reads"),
    "until two ends": ({"comment.body": "/perf-override one\nuntil: 7d\nuntil: 9d"}, "stands there twice"),
    "until nothing": ({"comment.body": "/perf-override one\nuntil:"}, "neither a duration"),
    "until words": ({"comment.body": "/perf-override one\nuntil: the release"}, "neither a duration"),
    "until no day": ({"comment.body": "/perf-override one\nuntil: 2026-13-40"}, "neither a duration"),
    "until the past": ({"comment.body": "/perf-override one\nuntil: 2026-11-23"}, "within 90 days"),
    "until now": ({"comment.body": "/perf-override one\nuntil: 0s"}, "within 90 days"),
    "for ever": ({"comment.body": "/perf-override one\nuntil: 91d"}, "within 90 days"),
    "for more than there is": ({"comment.body": f"/perf-override one\nuntil: {'9' * 300}d"}, "until"),
    "for no commit": ({"comment.body": "/perf-override one\ncommit: main"}, "hexadecimal"),
    "for no function": ({"comment.body": "/perf-override one\nfunction:"}, "a function has"),
    "for many functions": (
        {"comment.body": "/perf-override one" + "\nfunction: f" * 21},
        "at most 20",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_asked_for_wrongly_is_refused(case: str) -> None:
    """Who may not, what was changed, and what cannot be understood is refused, with the reason."""
    changes, why = REFUSED[case]
    with pytest.raises(PermanentError) as caught:
        asked(changes)
    assert why in str(caught.value)


def test_logins_have_no_case() -> None:
    """A login is one whatever its case, as on the forge; with the number of the account it must have that."""
    assert asked({"comment.user.login": "APPROVER"}) is not None
    known = {"comment.user": {"login": "Other-Approver", "id": 1003, "type": "User"}, "sender.id": 1003}
    assert asked(known) is not None


def test_a_deployment_has_a_default_of_its_own() -> None:
    """How long an override lasts that does not say is settable."""
    found = of_comment(event(), APPROVERS, default_until="2d")
    assert found is not None
    assert SAID + timedelta(days=2) == found.until


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "as a whole"),
        (b"[]", "as a whole"),
        (b'{"action": "created"}', "comment"),
        (b" " * (1 << 20) + b"{}", "at most 1048576 bytes"),
        (RECORDED.read_bytes().replace(b"1002", b'"many"'), "comment.user.id"),
        (RECORDED.read_bytes().replace(b'"2026-11-24T10:00:00Z"', b'"yesterday"'), "created_at"),
    ],
)
def test_what_is_no_event_is_told(content: bytes, why: str) -> None:
    """What is no event of a comment is told by the key that is missing or wrong."""
    with pytest.raises(ValueError, match=why.replace("[", r"\[")):
        CommentEvent.parse(content)


def test_approvers_are_a_login_a_line() -> None:
    """Comments, empty lines, `@` and case do not matter; the number of an account may be there."""
    text = "# who may\n\n@Approver   # since May\n other-approver 1003\nteam_member\n"
    assert (
        Approver("approver"),
        Approver("other-approver", 1003),
        Approver("team_member"),
    ) == parse_approvers(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nobody\n",
        "two logins\n",
        "a.b\n",
        "-a\n",
        "\N{CYRILLIC SMALL LETTER A}pprover\n",
        "*\n",
        "x[bot]\n",
    ],
)
def test_who_is_no_login_approves_nothing(text: str) -> None:
    """A file that names nobody, or somebody who cannot be a login, is not used at all."""
    with pytest.raises(ValueError, match=r"line 1|it names 0"):
        parse_approvers(text)


def an_override(**changes: Any) -> Override:
    """An override of pull request 7, with some attributes changed."""
    fields: dict[str, Any] = {
        "reason": "asked for",
        "by": "approver",
        "source": "command line",
        "repository": "owner/name",
        "pull_request": 7,
        "since": SAID,
        "until": SAID + timedelta(days=14),
    }
    return Override.model_validate({**fields, **changes})


def test_an_override_ends() -> None:
    """It is there from when it was said until it ends, and no moment longer."""
    one = an_override()
    moments = [SAID - timedelta(seconds=1), SAID, one.until - timedelta(seconds=1), one.until]
    assert [(), (one,), (one,), ()] == [active([one], moment) for moment in moments]


def test_an_override_is_for_what_it_was_said_of() -> None:
    """It is shown everywhere, and bears on its repository, its pull request and its commit alone."""
    whole, of_commit = an_override(), an_override(pull_request=None, commit="0123456")
    both = [whole, of_commit]

    assert tuple(both) == active(both, SAID)
    assert (whole,) == active(both, SAID, Scope("owner/name", 7, "f" * 40))
    assert (whole, of_commit) == active(both, SAID, Scope("owner/name", 7, "0123456" + "0" * 33))
    assert (of_commit,) == active(both, SAID, Scope("owner/name", None, "0123456" + "0" * 33))
    for other in (Scope(), Scope("owner/other", 7, "0123456"), Scope("owner/name", 8), Scope(None, 7)):
        assert () == active(both, SAID, other)


def test_an_override_is_for_its_functions() -> None:
    """One without functions covers all; of several that cover one, the one that lasts longest is named."""
    narrow = an_override(functions=("main.a",))
    longer = an_override(functions=("main.a", "main.b"), until=SAID + timedelta(days=20))

    assert [longer, longer, None] == [covering(name, [narrow, longer]) for name in ("main.a", "main.b", "c")]
    assert an_override() == covering("anything", [an_override()])
    assert covering("anything", []) is None


def test_an_override_is_said_in_a_line() -> None:
    """It names who, until when, for what and why; nothing of it can move a cursor."""
    one = an_override(functions=("main.a\x1b[2J",), commit="0123456789abcdef", by="approver")
    assert (
        r"overridden for main.a\x1b[2J of #7 at 0123456789ab by approver until"
        " 2026-12-08 10:00 UTC: asked for"
    ) == str(one)


def test_overrides_come_back_out_of_the_log(tmp_path: Path) -> None:
    """What was written is what is read; other events are stepped over; what is none is told."""
    path = tmp_path / "log"
    first, second = an_override(), asked()
    assert second is not None
    append(path, EVENT, data(first), SAID)
    append(path, "rotated", {"reason": "x"}, SAID)
    append(path, EVENT, data(second), SAID)
    assert (first, second) == overrides(verify(read(path)).records)

    append(path, EVENT, {"reason": "x"}, SAID)
    with pytest.raises(ValueError, match="record 4 is no override"):
        overrides(verify(read(path)).records)


def test_a_comment_is_taken_once(tmp_path: Path) -> None:
    """A job that is run again adds nothing: neither another record nor more time."""
    path = tmp_path / "log"
    found = asked()
    assert found is not None
    for _ in range(2):
        verified = append(path, EVENT, data(found), SAID, lambda records: is_taken(found, records))
    assert 1 == verified.head.records
    assert not is_taken(an_override(), verified.records)


def test_an_override_by_hand_is_for_something() -> None:
    """On the command line a pull request or a commit is named; nobody overrides everything."""
    request = Request("asked for", until="2026-11-30", functions=("main.a",))
    found = by_hand(request, "somebody", Scope("owner/name", 7), SAID)
    assert an_override(by="somebody", functions=("main.a",), until=datetime(2026, 12, 1, tzinfo=UTC)) == found
    with pytest.raises(PermanentError, match="for a pull request or for a commit"):
        by_hand(request, "somebody", Scope("owner/name"), SAID)
    for who, repository in (("", None), ("x" * 201, None), ("a\ud800", None), ("a", "owner\n")):
        with pytest.raises(PermanentError, match="1 to 200 printable characters"):
            by_hand(request, who, Scope(repository, 7), SAID)


def test_an_end_is_a_duration_or_a_day() -> None:
    """A day belongs to it as a whole; 90 days are the most."""
    assert SAID + timedelta(hours=36) == ends("1d12h", SAID)
    assert datetime(2026, 11, 25, tzinfo=UTC) == ends("2026-11-24", SAID)
    assert SAID + timedelta(days=90) == ends("90d", SAID)

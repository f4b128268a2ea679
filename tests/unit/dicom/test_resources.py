"""Paths of resources: read, written, and what is turned away."""

from __future__ import annotations

import pytest

from dcmweb.dicom.resources import (
    LONGEST_UID,
    MOST_FRAMES,
    Level,
    Representation,
    Resource,
    Target,
    is_usable_uid,
    parse_resource,
    parse_search,
    parse_target,
)
from dcmweb.errors import UsageError


@pytest.mark.parametrize(
    ("text", "resource", "level"),
    [
        ("", Resource(), Level.STORE),
        ("/", Resource(), Level.STORE),
        ("studies/1.2", Resource("1.2"), Level.STUDIES),
        (" /studies/1.2/ ", Resource("1.2"), Level.STUDIES),
        ("studies/1/series/2", Resource("1", "2"), Level.SERIES),
        ("studies/1/series/2/instances/3", Resource("1", "2", "3"), Level.INSTANCES),
        (
            "studies/1/series/2/instances/3/frames/4,6-8,7",
            Resource("1", "2", "3", (4, 6, 7, 8)),
            Level.FRAMES,
        ),
        ("studies/not-A_uid", Resource("not-A_uid"), Level.STUDIES),
    ],
)
def test_resources_are_read(text: str, resource: Resource, level: Level) -> None:
    assert parse_resource(text) == resource
    assert resource.level is level


@pytest.mark.parametrize(
    "text",
    [
        "study/1",
        "studies",
        "studies/",
        "studies//series/2",
        "studies/1/series",
        "studies/1/instances/3",
        "series/2",
        "studies/1/series/2/instances/3/frames",
        "studies/1/series/2/instances/3/rendered",
        "studies/1/series/2/instances/3/frames/1/rendered",
        "studies/..",
        "studies/.",
        "studies/../series/..",
        "studies/a\x1bb",
        "studies/\udcff",
        "studies/" + "1" * (LONGEST_UID + 1),
        "Studies/1",
    ],
)
def test_what_is_no_resource_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_resource(text)


@pytest.mark.parametrize(
    "frames",
    ["0", "-1", "1,", ",", "1,,2", "a", "2-1", "1.5", "1--3", "5-", "1_0", "0-3", "1-99999999999"],
)
def test_what_is_no_list_of_frames_is_a_usage_error(frames: str) -> None:
    with pytest.raises(UsageError, match="frame"):
        parse_resource(f"studies/1/series/2/instances/3/frames/{frames}")


def test_a_range_of_frames_has_an_end() -> None:
    path = "studies/1/series/2/instances/3/frames/"
    assert len(parse_resource(f"{path}1-{MOST_FRAMES}").frames) == MOST_FRAMES
    with pytest.raises(UsageError):
        parse_resource(f"{path}1-{MOST_FRAMES + 1}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "studies/1.2",
        "studies/1/series/2",
        "studies/1/series/2/instances/3",
        "studies/1/series/2/instances/3/frames/4,6",
    ],
)
def test_a_resource_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_resource(text)) == text


def test_what_a_server_calls_a_uid_stays_one_segment_of_a_path() -> None:
    resource = Resource("a/b", "c?d#e", "f %g;h")
    assert str(resource) == "studies/a%2Fb/series/c%3Fd%23e/instances/f%20%25g%3Bh"


def test_frames_are_put_on_and_taken_off() -> None:
    instance = Resource("1", "2", "3")
    assert instance.with_frames(4, 5).frames == (4, 5)
    assert instance.with_frames(4).without_frames == instance


@pytest.mark.parametrize(
    ("uid", "usable"),
    [
        ("1.2.840", True),
        ("abc-DEF_1", True),
        ("1" * LONGEST_UID, True),
        ("1" * (LONGEST_UID + 1), False),
        ("", False),
        (".", False),
        ("..", False),
        ("1\n2", False),
        ("1\0", False),
        ("\u202e1", False),
        (None, False),
        (1.2, False),
    ],
)
def test_usable_uids(uid: object, usable: bool) -> None:
    assert is_usable_uid(uid) is usable


@pytest.mark.parametrize(
    ("text", "resource", "level"),
    [
        ("", Resource(), Level.STUDIES),
        ("studies", Resource(), Level.STUDIES),
        ("/studies/", Resource(), Level.STUDIES),
        ("series", Resource(), Level.SERIES),
        ("instances", Resource(), Level.INSTANCES),
        ("studies/1/series", Resource("1"), Level.SERIES),
        ("studies/1/instances", Resource("1"), Level.INSTANCES),
        ("studies/1/series/2/instances", Resource("1", "2"), Level.INSTANCES),
    ],
)
def test_searches_are_read(text: str, resource: Resource, level: Level) -> None:
    assert parse_search(text) == (resource, level)


@pytest.mark.parametrize(
    "text",
    [
        "studies/1",
        "patients",
        "studies/1/studies",
        "series/2/instances",
        "studies/1/series/2/series",
        "studies/1/series/2/instances/3/instances",
        "studies/1/series/2/instances/3/frames",
        "studies/../series",
        "StudyDate=2024",
    ],
)
def test_what_is_no_search_path_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_search(text)


BASE = "http://host/dicomweb"
I3 = Resource("1", "2", "3")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("", Target()),
        ("studies/1", Target(Resource("1"))),
        ("studies/1/metadata", Target(Resource("1"), Representation.METADATA)),
        ("studies/metadata", Target(Resource("metadata"))),
        ("studies/metadata/metadata", Target(Resource("metadata"), Representation.METADATA)),
        ("/studies/1/series/2/thumbnail/", Target(Resource("1", "2"), Representation.THUMBNAIL)),
        ("studies/1/series/2/instances/3/rendered", Target(I3, Representation.RENDERED)),
        (
            "studies/1/series/2/instances/3/frames/4,6-7/rendered",
            Target(Resource("1", "2", "3", (4, 6, 7)), Representation.RENDERED),
        ),
        ("studies/1/bulkdata", Target(Resource("1"), Representation.BULKDATA)),
        (
            "studies/1/series/2/instances/3/bulk/7fe00010?x=1",
            Target(I3, Representation.BULKDATA, "studies/1/series/2/instances/3/bulk/7fe00010?x=1"),
        ),
        (f"{BASE}/studies/1", Target(Resource("1"))),
        (
            f"{BASE}/studies/1/bulkdata/a",
            Target(Resource("1"), Representation.BULKDATA, "studies/1/bulkdata/a"),
        ),
        ("https://other/x?y", Target(Resource(), Representation.BULKDATA, "https://other/x?y")),
    ],
)  # fmt: skip
def test_targets_are_read(text: str, target: Target) -> None:
    assert parse_target(text, BASE) == target


@pytest.mark.parametrize(
    "text",
    [
        "metadata",
        "rendered",
        "studies/1/rendering",
        "studies/1/metadata/x",
        "studies/1/rendered?quality=5",
        "studies/1/series/2/instances/3/frames/1/metadata",
        "studies/1/series/2/instances/3/frames/1/bulkdata",
        "ftp://host/x",
        "file:///etc/passwd",
        "http://host/a b",
        "http://host/\x1b",
    ],
)
def test_what_is_no_target_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_target(text, BASE)


@pytest.mark.parametrize(
    "text",
    [
        "studies/1/metadata",
        "studies/1/series/2/instances/3/frames/1,2/rendered",
        "studies/1/bulkdata",
        "studies/1/series/2/instances/3/bulkdata/a/b",
        "https://other/x",
    ],
)
def test_a_target_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_target(text)) == text


def test_a_resource_holds_what_is_below_it() -> None:
    assert Resource("1").holds(I3)
    assert I3.holds(I3)
    assert Resource().holds(I3)
    assert not Resource("1", "9").holds(I3)
    assert not I3.holds(Resource("1"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1.2.3", "write studies/1.2.3"),
        ("/1.2.3/", "write studies/1.2.3"),
        ("1.2.3/4.5.6", "write studies/1.2.3/series/4.5.6"),
        ("1.2.3/4.5.6/7.8.9", "write studies/1.2.3/series/4.5.6/instances/7.8.9"),
    ],
)
def test_uids_alone_are_said_to_lack_what_they_are_of(text: str, words: str) -> None:
    for parse in (parse_resource, parse_target):
        with pytest.raises(UsageError) as caught:
            parse(text)
        assert caught.value.hint == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1.2.3", "write studies/1.2.3/series"),
        ("1.2.3/4.5.6", "write studies/1.2.3/series/4.5.6/instances"),
    ],
)
def test_uids_alone_are_not_a_search_path(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_search(text)
    assert caught.value.hint == words


@pytest.mark.parametrize("text", ["study/1.2.3", "1", "...", "1.2.3/x", "patients/1.2.3"])
def test_other_paths_are_not_guessed(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_resource(text)
    assert "write it as studies[/UID" in caught.value.hint


@pytest.mark.parametrize(
    "uid", ["1.2 3", "a/b", "100%", "%2F", "c?d#e", "\u00e4\u00f6", "x;y=z", "a+b", "~-_"]
)
def test_paths_are_read_as_they_are_printed(uid: str) -> None:
    for resource in (Resource(uid), Resource("1", uid), Resource("1", "2", uid)):
        assert parse_resource(str(resource)) == resource
        assert parse_target(f"http://x/y/{resource}/metadata", "http://x/y") == Target(
            resource, Representation.METADATA
        )
    assert parse_search(f"{Resource(uid)}/series") == (Resource(uid), Level.SERIES)


@pytest.mark.parametrize("written", ["%2E%2E", "%00", "a%0Ab", "%1B", "%FF", "%20" * 129])
def test_what_cannot_be_part_of_a_path_is_refused_in_code_too(written: str) -> None:
    with pytest.raises(UsageError, match="UID"):
        parse_resource(f"studies/{written}")


def test_a_list_of_frames_can_be_long() -> None:
    frames = tuple(range(1, 200))
    text = ",".join(map(str, frames))
    assert parse_resource(f"studies/1/series/2/instances/3/frames/{text}").frames == frames
    assert parse_resource("studies/1/series/2/instances/3/frames/1%2C3").frames == (1, 3)


def test_half_characters_in_uids_are_written_somehow() -> None:
    """Servers send them in answers to store requests, as JSON can have them."""
    assert str(Resource(instance="1.\ud800")) == "instances/1.%ED%A0%80"


def test_digits_of_other_scripts_are_escaped() -> None:
    assert str(Resource("\u0661.2")) == "studies/%D9%A1.2"
    assert str(Resource("1", "2", "\u0661")) == "studies/1/series/2/instances/%D9%A1"


def test_a_url_that_begins_as_a_root_does_is_elsewhere() -> None:
    url = "http://host/xy/studies/1.2"
    assert parse_target(url, "http://host/x").address == url
    assert parse_target("http://host/x/studies/1.2", "http://host/x").resource == Resource("1.2")

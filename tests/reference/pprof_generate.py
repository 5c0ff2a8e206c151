"""pprofs as hypothesis draws them: valid ones that use all of the format, and ones with one thing wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from tests.reference.pprof import FLAGS, KEYS_IN_BYTES, Profile

if TYPE_CHECKING:
    from collections.abc import Callable

INT64: Final = st.sampled_from((0, 1, 2, -1, 7, 2**63 - 1, -(2**63))) | st.integers(-(2**40), 2**40)
UINT64: Final = st.sampled_from((0, 1, 0x1000, 2**64 - 1)) | st.integers(0, 2**40)
LINES: Final = st.integers(-2, 300)
NAMES: Final = ("main", "pkg/path.Func", "é;\n", *KEYS_IN_BYTES, "a/b", "redacted", "0", "1.5", "[1]")
TABLE: Final = st.lists(st.sampled_from(NAMES) | st.text(min_size=1, max_size=4), min_size=3, max_size=8)


@st.composite
def pprofs(draw: st.DrawFn) -> Any:
    """A valid pprof."""
    pprof = Profile(string_table=[text.encode() for text in ("", *draw(TABLE))])
    string = st.integers(0, len(pprof.string_table) - 1)
    text = pprof.string_table
    types = st.lists(
        st.tuples(string, string),
        min_size=1,
        max_size=3,
        unique_by=lambda kind: (text[kind[0]], text[kind[1]]),
    )
    for kind, unit in draw(types):
        pprof.sample_type.add(type=kind, unit=unit)
    for field in ("drop_frames", "keep_frames", "default_sample_type", "doc_url"):
        setattr(pprof, field, draw(string))
    pprof.comment.extend(draw(st.lists(string, max_size=3)))
    pprof.time_nanos, pprof.duration_nanos = abs(draw(st.integers(0, 2**62))), draw(st.integers(0, 2**40))
    if draw(st.booleans()):
        pprof.period_type.type, pprof.period_type.unit = draw(string), draw(string)
    pprof.period = draw(INT64)
    _tables(draw, pprof, string)
    locations = st.sampled_from([location.id for location in pprof.location] or [0])
    for _ in range(draw(st.integers(0, 5))):
        sample = pprof.sample.add(value=[draw(INT64) for _ in pprof.sample_type])
        sample.location_id.extend(draw(st.lists(locations, max_size=4)) if pprof.location else ())
        _labels(draw, pprof, sample)
    return pprof


def _ids(draw: st.DrawFn, max_size: int) -> list[int]:
    ids = st.integers(1, 9) | st.sampled_from((2**32, 2**64 - 1))
    return draw(st.lists(ids, max_size=max_size, unique=True))


def _tables(draw: st.DrawFn, pprof: Any, string: st.SearchStrategy[int]) -> None:
    for ref in _ids(draw, 2):
        mapping = pprof.mapping.add(id=ref, filename=draw(string), build_id=draw(string))
        for field in ("memory_start", "memory_limit", "file_offset"):
            setattr(mapping, field, draw(UINT64))
        for flag in FLAGS:
            setattr(mapping, flag, draw(st.booleans()))
    for ref in _ids(draw, 4):
        function = pprof.function.add(id=ref, start_line=draw(LINES))
        function.name, function.system_name, function.filename = (draw(string) for _ in range(3))
    for ref in _ids(draw, 5):
        location = pprof.location.add(id=ref, address=draw(UINT64), is_folded=draw(st.booleans()))
        location.mapping_id = draw(st.sampled_from([0, *(mapping.id for mapping in pprof.mapping)]))
        functions = [function.id for function in pprof.function]
        for function in draw(st.lists(st.sampled_from(functions), max_size=3)) if functions else ():
            location.line.add(function_id=function, line=draw(LINES), column=draw(LINES))


def _labels(draw: st.DrawFn, pprof: Any, sample: Any) -> None:
    """Several of one key are of one kind and unit."""
    by_text = {text: index for index, text in enumerate(pprof.string_table) if text}
    for key in draw(st.lists(st.sampled_from(sorted(by_text.values())), max_size=3, unique=True)):
        is_text, unit = draw(st.booleans()), draw(st.integers(0, len(pprof.string_table) - 1))
        for _ in range(draw(st.integers(1, 2))):
            label = sample.label.add(key=key)
            if is_text:
                label.str = draw(st.integers(0, len(pprof.string_table) - 1))
            else:
                label.num, label.num_unit = draw(INT64), unit


def _out_of_range(owner: Any, field: str) -> Callable[[Any], None]:
    def break_it(pprof: Any) -> None:
        setattr(owner(pprof), field, len(pprof.string_table))

    return break_it


def _labelled(pprof: Any, *values: dict[str, int]) -> None:
    pprof.string_table.append(b"odd")
    key = len(pprof.string_table) - 1
    sample = pprof.sample.add(value=[1] * len(pprof.sample_type))
    for value in values:
        sample.label.add(key=key, **value)


FAULTS: Final[dict[str, Callable[[Any], Any]]] = {
    "no sample_type": lambda p: (p.ClearField("sample_type"), p.ClearField("sample")),
    "string_table[0]": lambda p: p.string_table.__setitem__(0, b"x"),
    "not UTF-8": lambda p: p.string_table.append(b"\xff"),
    "has the id 0": lambda p: p.function.add(id=0),
    "mapping has the id 0": lambda p: p.mapping.add(),
    "two locations have the id 77": lambda p: (p.location.add(id=77), p.location.add(id=77)),
    "two functions have the id": lambda p: (p.function.add(id=2**63), p.function.add(id=2**63)),
    "no location has that id": lambda p: p.sample.add(value=[1] * len(p.sample_type), location_id=[78]),
    "has the location_id 0": lambda p: p.sample.add(value=[1] * len(p.sample_type), location_id=[0]),
    "no mapping has that id": lambda p: p.location.add(id=79, mapping_id=2**64 - 2),
    "no function has that id": lambda p: p.location.add(id=80).line.add(function_id=2**40),
    "has the function_id 0": lambda p: p.location.add(id=81).line.add(line=3),
    "has no value": lambda p: p.sample.add(),
    "sample types": lambda p: p.sample.add(value=[1] * (len(p.sample_type) + 1)),
    "time_nanos is -1": lambda p: setattr(p, "time_nanos", -1),
    "duration_nanos is -": lambda p: setattr(p, "duration_nanos", -(2**63)),
    "without a key": lambda p: p.sample.add(value=[1] * len(p.sample_type)).label.add(num=1),
    "of several kinds": lambda p: _labelled(p, {"str": 1}, {"num": 1}),
    "or units": lambda p: _labelled(p, {"num": 1, "num_unit": 1}, {"num": 1}),
    "Function.name is -1": lambda p: p.function.add(id=90, name=-1),
    "Mapping.build_id is 2147483647": lambda p: p.mapping.add(id=91, build_id=2**31 - 1),
    "Profile.comment is": lambda p: p.comment.append(len(p.string_table)),
    "Label.str is": lambda p: p.sample.add(value=[1] * len(p.sample_type)).label.add(key=1, str=2**40),
    "ValueType.unit is": _out_of_range(lambda p: p.sample_type[0], "unit"),
    "Profile.default_sample_type is": _out_of_range(lambda p: p, "default_sample_type"),
}
"""What is done to a valid pprof, by what its refusal says."""

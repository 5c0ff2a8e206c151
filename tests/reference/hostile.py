"""Names that somebody would put into a profile to break what shows it."""

from __future__ import annotations

from typing import Final

HOSTILE_NAMES: Final = {
    "script": "<script>alert(1)</script>",
    "svg script": "</title></text></g></svg><script>document.title='owned'</script>",
    "attribute": '" onload="alert(1)" x="',
    "quotes": "'\"`",
    "cdata end": "]]>",
    "cdata": "<![CDATA[<script>alert(1)</script>]]>",
    "comment": "--><!-- -->",
    "entity": "&lt;&#60;&amp;&xxe;",
    "doctype": '<!DOCTYPE x [<!ENTITY a "b">]>',
    "script string": "';alert(1);//\\",
    "separator": "a;b;;c",
    "control characters": "".join(map(chr, [*range(1, 0x20), *range(0x7F, 0xA0)])),
    "escape sequence": "\x1b[31mred\x1b]0;owned\x07",
    "right to left": "\u202egpj.exe\u202c \u2066x\u2069 \u200f\u061c",
    "invisible": "a\u200bb\u2060c\ufeffd\u00ade",
    "line separators": "a\u2028b\u2029c\x85d",
    "not XML 1.0": "\ufffe\uffff\U0001fffe\U0010ffff\x00\x0b",
    "tags": "\U000e0001\U000e0041",
    "long": "x" * 100_000,
    "long and wide": "\U0001f525" * 25_000,
    "spaces": "   ",
    "number": "worker 42",
}

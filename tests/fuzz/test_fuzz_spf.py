"""Whatever a domain publishes as SPF: a result, after a bounded number of questions."""

import asyncio
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.net.spf import LOOKUPS_MAX, check_host

EXAMPLES = int(os.environ.get("PETREL_FUZZ_EXAMPLES", "60"))
NAMES = st.sampled_from(
    ["a.example", "b.example", "%{d}", "%{i}.x.example", "%{ir}.%{v}.x", "%", ""]
)
TERMS = st.tuples(
    st.sampled_from(["", "-", "~", "?", "+", "!"]),
    st.sampled_from(["all", "a", "mx", "ptr", "include", "exists", "ip4", "ip6", "redirect", "x"]),
    st.sampled_from(["", ":", "=", "/", "//"]),
    NAMES | st.text(max_size=8) | st.sampled_from(["192.0.2.0/24", "2001:db8::/32", "24", "0//0"]),
).map("".join)
RECORDS = st.lists(TERMS, max_size=14).map(lambda terms: " ".join(["v=spf1", *terms]))


class Zone:
    def __init__(self, records):
        self._records = records
        self.asked = 0

    async def records(self, name, kind):
        self.asked += 1
        if kind == "TXT":
            return tuple(self._records.get(name, ()))
        answers = {"A": ("192.0.2.1",), "AAAA": ("2001:db8::1",), "MX": ("a.example", "b.example")}
        return answers.get(kind, ("a.example",))


@settings(max_examples=EXAMPLES)
@given(
    st.dictionaries(st.sampled_from(["a.example", "b.example"]), st.lists(RECORDS, max_size=2)),
    st.sampled_from(["192.0.2.9", "2001:db8::9"]),
    st.text(max_size=8),
)
def test_any_record_has_a_result(records, ip, local):
    zone = Zone(records)
    checked = asyncio.run(
        check_host(zone, ip=ip, domain="a.example", sender=f"{local}@a.example", helo="h.example")
    )
    assert checked.result in (
        "pass", "fail", "softfail", "neutral", "none", "temperror", "permerror",
    )  # fmt: skip
    # Each term that asks costs its names: a record, ten exchangers, ten names of a client.
    assert zone.asked <= (LOOKUPS_MAX + 1) * 24

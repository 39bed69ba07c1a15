"""SPF as RFC 7208 has it, evaluated over a table of records."""

import pytest

from mta.errors import ResolveError
from mta.net.spf import check_host


class Table:
    """Records by (kind, name); `None` is a server that does not answer."""

    def __init__(self, records):
        self.records_ = records
        self.asked = []

    async def records(self, name, kind):
        self.asked.append((kind, name))
        found = self.records_.get((kind, name.lower()), ())
        if found is None:
            raise ResolveError(
                f"StatusDnsQueryFailed resolving {name}", permanent=False, status="4.4.3"
            )
        return found


def table(**spf):
    """Records of RFC 7208, appendix A, and the SPF of domains with `_` for a dot."""
    records = {
        ("A", "example.com"): ("192.0.2.10", "192.0.2.11"),
        ("A", "amy.example.com"): ("192.0.2.65",),
        ("A", "mail-a.example.com"): ("192.0.2.129",),
        ("A", "mail-b.example.com"): ("192.0.2.130",),
        ("AAAA", "example.com"): ("2001:db8::10",),
        ("MX", "example.com"): ("mail-a.example.com", "mail-b.example.com"),
        ("PTR", "10.2.0.192.in-addr.arpa"): ("example.com",),
        ("PTR", "65.2.0.192.in-addr.arpa"): ("amy.example.com",),
        ("PTR", "140.2.0.192.in-addr.arpa"): ("mail-a.example.com",),
        ("TXT", "broken.example"): None,
    }
    for name, text in spf.items():
        texts = text if isinstance(text, tuple) else (text,)
        records["TXT", name.replace("_", ".")] = texts
    return Table(records)


async def checked(dns, ip="192.0.2.10", domain="example.com", sender="", **options):
    return await check_host(
        dns,
        ip=ip,
        domain=domain,
        sender=sender or f"strong-bad@{domain}",
        helo="mail.example",
        **options,
    )


async def result(record, ip="192.0.2.10", **others):
    return (await checked(table(example_com=record, **others), ip)).result


@pytest.mark.parametrize(
    ("record", "ip", "expected"),
    [
        ("v=spf1 +all", "192.0.2.10", "pass"),
        ("v=spf1 a -all", "192.0.2.10", "pass"),
        ("v=spf1 a -all", "192.0.2.12", "fail"),
        ("v=spf1 a:example.org ~all", "192.0.2.10", "softfail"),
        ("v=spf1 mx -all", "192.0.2.129", "pass"),
        ("v=spf1 mx:example.org ?all", "192.0.2.10", "neutral"),
        ("v=spf1 mx/30 -all", "192.0.2.131", "pass"),
        ("v=spf1 mx/30 -all", "192.0.2.132", "fail"),
        ("v=spf1 a/24//64 -all", "2001:db8::ff", "pass"),
        ("v=spf1 a//128 -all", "2001:db8::ff", "fail"),
        ("v=spf1 ptr -all", "192.0.2.65", "pass"),
        ("v=spf1 ptr -all", "192.0.2.140", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "pass"),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8::1", "pass"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "::ffff:192.0.2.1", "pass"),
        ("V=SPF1 A -ALL", "192.0.2.10", "pass"),
        ("v=spf1", "192.0.2.10", "neutral"),
        ("v=spf1  a   -all ", "192.0.2.10", "pass"),
        ("v=spf1 unknown=x a -all", "192.0.2.10", "pass"),
        ("v=spf10 a", "192.0.2.10", "none"),
        ("something else", "192.0.2.10", "none"),
        ("v=spf1 foo -all", "192.0.2.10", "permerror"),
        ("v=spf1 a:", "192.0.2.10", "permerror"),
        ("v=spf1 a/33 -all", "192.0.2.10", "permerror"),
        ("v=spf1 a/032 -all", "192.0.2.10", "permerror"),
        (f"v=spf1 a/{'9' * 5000} -all", "192.0.2.10", "permerror"),
        (f"v=spf1 a//{'9' * 5000} -all", "192.0.2.10", "permerror"),
        (f"v=spf1 exists:%{{d{'0' * 5000}}}.x -all", "192.0.2.10", "permerror"),
        (f"v=spf1 -exists:%{{d{'9' * 5000}}}.none.example +all", "192.0.2.10", "pass"),
        ("v=spf1 ip4:192.0.2.0/255.255.255.0 -all", "192.0.2.10", "permerror"),
        ("v=spf1 ip4:1.2.3 -all", "192.0.2.10", "permerror"),
        ("v=spf1 all:x", "192.0.2.10", "permerror"),
        ("v=spf1 a:%{z}.example -all", "192.0.2.10", "permerror"),
        ("v=spf1 a:%x.example -all", "192.0.2.10", "permerror"),
        ("v=spf1 a:%{r}.example -all", "192.0.2.10", "permerror"),
        ("v=spf1 a x=%{z} -all", "192.0.2.10", "permerror"),
        ("v=spf1 a exp=-all", "192.0.2.10", "permerror"),
        ("v=spf1 a:example.123 -all", "192.0.2.10", "permerror"),
        ("v=spf1 redirect=a.example redirect=b.example", "192.0.2.10", "permerror"),
        ("v=spf1 a -all foo", "192.0.2.10", "permerror"),
    ],
)
async def test_one_record(record, ip, expected):
    assert await result(record, ip) == expected


async def test_two_records_are_one_too_many():
    assert await result(("v=spf1 a", "v=spf1 mx")) == "permerror"


@pytest.mark.parametrize(
    ("inner", "expected"),
    [("v=spf1 a:example.com -all", "pass"), ("v=spf1 -all", "softfail"),
     ("v=spf1 ?all", "softfail"), ("nothing", "permerror"), ("v=spf1 foo", "permerror")],
)  # fmt: skip
async def test_include_matches_only_a_pass(inner, expected):
    assert await result("v=spf1 include:inner.example ~all", inner_example=inner) == expected


@pytest.mark.parametrize(
    ("inner", "expected"),
    [("v=spf1 -all", "fail"), ("v=spf1 a:example.com", "pass"), ("nothing", "permerror")],
)
async def test_redirect_takes_the_result_of_another(inner, expected):
    assert await result("v=spf1 redirect=inner.example", inner_example=inner) == expected
    assert await result("v=spf1 redirect=inner.example ?all", inner_example=inner) == "neutral"


async def test_no_answer_is_a_temporary_error():
    assert await result("v=spf1 include:broken.example -all") == "temperror"


async def test_ten_terms_may_ask_and_no_more():
    ten = " ".join(["a:example.org"] * 10)
    options = {"void_lookups_max": 100}
    dns = table(example_com=f"v=spf1 {ten} ?all")
    assert (await checked(dns, **options)).result == "neutral"
    dns = table(example_com=f"v=spf1 {ten} mx ?all")
    assert (await checked(dns, **options)).result == "permerror"
    loop = table(example_com="v=spf1 include:example.com")
    assert (await checked(loop)).result == "permerror"
    assert len(loop.asked) == 11


async def test_void_lookups_are_bounded_as_configured():
    dns = table(example_com="v=spf1 a:x.example a:y.example a:z.example +all")
    assert (await checked(dns)).result == "permerror"
    assert (await checked(dns, void_lookups_max=3)).result == "pass"


async def test_eleven_exchangers_are_one_too_many():
    dns = table(example_com="v=spf1 mx -all")
    dns.records_["MX", "example.com"] = tuple(f"m{n}.example.com" for n in range(11))
    assert (await checked(dns)).result == "permerror"


@pytest.mark.parametrize("domain", ["localhost", "[192.0.2.1]", "a..b", "x" * 64 + ".example", ""])
async def test_what_is_no_name_has_no_record(domain):
    dns = table()
    assert (await checked(dns, domain=domain)).result == "none"
    assert dns.asked == []


@pytest.mark.parametrize(
    ("spec", "expanded"),
    [  # RFC 7208 §7.4
        ("%{s}.x.example", "strong-bad@email.example.com.x.example"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}.x", "com.x"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}.x", "strong-bad.x"),
        ("%{l-}.x", "strong.bad.x"),
        ("%{lr}.x", "strong-bad.x"),
        ("%{lr-}.x", "bad.strong.x"),
        ("%{l1r-}.x", "strong.x"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{h}", "mail.example"),
    ],
)
async def test_macros(spec, expanded):
    dns = table(email_example_com=f"v=spf1 exists:{spec} -all")
    await checked(dns, "192.0.2.3", "email.example.com")
    assert dns.asked[-1] == ("A", expanded)


async def test_a_macro_of_an_ipv6_client():
    dns = table(example_com="v=spf1 exists:%{ir}.%{v}.x.example -all")
    await checked(dns, "2001:db8::cb01")
    nibbles = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    assert dns.asked[-1] == ("A", f"{nibbles}.ip6.x.example")


async def test_the_trace_tells_what_was_asked():
    lines = []
    await checked(table(example_com="v=spf1 mx -all"), "192.0.2.129", trace=lines.append)
    assert lines == [
        "TXT example.com: 1 strings",
        "MX example.com: mail-a.example.com, mail-b.example.com",
        "A mail-a.example.com: 192.0.2.129",
    ]

"""The page of results says of each which machine found it."""

from benchmarks.page import pages, read
from benchmarks.report import Column, Report, Table


def result(taken, processor, rate):
    made = Report("soak", "Does it?", "python -m benchmarks.soak", taken, {"processor": processor})
    made.versions = ["Petrel 0.1.0, commit abc"]
    made.tables = [Table("all of it", [Column("what"), Column("value")])]
    made.tables[0].add("messages a second", rate)
    made.series = {"seconds": [1.0, 2.0], "rate": [3.0, 4.0]}
    return made


def test_what_two_machines_found_stands_beside_each_other(tmp_path):
    result("2026-01-01 10:00 UTC", "old", "100").save(tmp_path)
    (tmp_path / "soak.json").rename(tmp_path / "soak.old.json")
    result("2026-01-02 10:00 UTC", "new", "200").save(tmp_path)
    written = pages(read(tmp_path), "page.md")
    page = written["page.md"]
    assert sorted(written) == ["page-soak.svg", "page-soak1.svg", "page.md"]
    newer = page.index("Taken 2026-01-02 10:00 UTC, Petrel 0.1.0, commit abc; processor new.")
    older = page.index("Taken 2026-01-01 10:00 UTC, Petrel 0.1.0, commit abc; processor old.")
    assert newer < page.index("200") < older < page.index("| 100")

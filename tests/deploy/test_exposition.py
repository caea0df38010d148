"""Joining the metrics of several parts."""

from prometheus_client.parser import text_string_to_metric_families

from tianlu_standalone.exposition import merge

ONE = """\
# HELP jobs_total Jobs done.
# TYPE jobs_total counter
jobs_total{kind="a"} 3
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{le="+Inf"} 2
took_seconds_sum 1.5
took_seconds_count 2
"""
TWO = """\
# HELP jobs_total Jobs done.
# TYPE jobs_total counter
jobs_total 4
plain 7 1700000000000
this is not a sample
"""


def parsed(text: str) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    return {
        family.name: [(sample.name, sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_same_family_of_two_parts_stands_together_and_is_told_apart() -> None:
    families = parsed(merge({"one": ONE, "two": TWO}))
    assert families["jobs"] == [
        ("jobs_total", {"part": "one", "kind": "a"}, 3.0),
        ("jobs_total", {"part": "two"}, 4.0),
    ]


def test_histogram_series_stay_with_their_family() -> None:
    text = merge({"one": ONE})
    lines = text.splitlines()
    header = lines.index("# TYPE took_seconds histogram")
    assert [line.split("{")[0] for line in lines[header + 1 : header + 4]] == [
        "took_seconds_bucket",
        "took_seconds_sum",
        "took_seconds_count",
    ]


def test_each_family_is_described_once() -> None:
    assert merge({"one": ONE, "two": TWO}).count("# TYPE jobs_total") == 1


def test_lines_that_are_no_samples_are_left_out_and_timestamps_kept() -> None:
    text = merge({"two": TWO})
    assert "this is not a sample" not in text
    assert 'plain{part="two"} 7 1700000000000' in text

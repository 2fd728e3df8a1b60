# SPDX-License-Identifier: Apache-2.0
"""The static check of rule files for SkyWalking's OAP finds each mistake that OAP would not, by its line."""

import pytest
from skywalking.__main__ import main
from skywalking.check import LONGEST, check_rules
from skywalking.versions import VERSIONS, for_older, layers

RIGHT = """\
filter: "{ tags -> tags.job_name == 'ebpf-sidecar' }"
expSuffix: instance(['cluster'], ['oap_instance'], Layer.BANYANDB)
metricPrefix: meter_ours
metricsRules:
  - name: misses
    exp: ebpf_cache_misses.sum(['cluster','oap_instance']).downsampling(SUM)
  - name: latency
    exp: ebpf_syscall_duration.sum(['cluster','oap_instance','le'])
      .histogram().histogram_percentile([99]).downsampling(SUM)
  - name: in_flight
    exp: ebpf_block_io_in_flight.sum(['cluster','oap_instance'])
"""
SUFFIX, MISSES, LATENCY, LEVEL = 2, 6, 8, 11
ENTITY = "['cluster','oap_instance']"
SUFFIX_LINE = "expSuffix: instance(['cluster'], ['oap_instance'], Layer.BANYANDB)\n"
PLANTED = {
    "metric_that_is_not_sent": ("ebpf_cache_misses", "ebpf_cache_miss", MISSES, '"ebpf_cache_miss"', "misses"),
    "service_metric": ("ebpf_cache_misses", "ebpf_sidecar_dropped_metric_points", MISSES, "dropped", ""),
    "metric_with_dots": ("ebpf_cache_misses", "ebpf.cache.misses", MISSES, '".cache" is no call', "_"),
    "lost_instance": (f"misses.sum({ENTITY})", "misses.sum(['cluster'])", MISSES, '"oap_instance"', "add"),
    "lost_service": (f"misses.sum({ENTITY})", "misses.sum(['oap_instance'])", MISSES, '"cluster"', "add"),
    "dotted_label": (f"misses.sum({ENTITY})", "misses.sum(['cluster','oap_instance','error.type'])", MISSES, "dots",
                     "error_type"),
    "label_of_another_metric": (f"misses.sum({ENTITY})", "misses.sum(['cluster','oap_instance','operation'])", MISSES,
                                'no label "operation"', ""),
    "misspelt_label": ("flight.sum(['cluster'", "flight.sum(['operatoin','cluster'", LEVEL, '"operatoin"', "operation"),
    "no_aggregation": (f".sum({ENTITY}).downsampling", ".downsampling", MISSES, "not aggregated", "sum"),
    "label_without_list": (f"misses.sum({ENTITY})", "misses.sum('cluster')", MISSES, "no list", "["),
    "counter_that_is_averaged": ("]).downsampling(SUM)\n  - name: latency", "])\n  - name: latency", MISSES, "averaged",
                                 "downsampling(SUM)"),
    "division": (f"exp: ebpf_cache_misses.sum({ENTITY})",
                 f"exp: ebpf_cache_misses.sum({ENTITY}) / ebpf_cache_read_attempts.sum({ENTITY})", MISSES, "division",
                 "query"),
    "division_by_number": ("exp: ebpf_cache_misses.sum", "exp: (ebpf_cache_misses / 2).sum", MISSES, "division", "*"),
    "safe_division": (f"{ENTITY}).downs", f"{ENTITY}).safeDiv(2).downs", MISSES, '"safeDiv"', "query"),
    "increase": (f"{ENTITY}).downs", f"{ENTITY}).increase('PT1M').downs", MISSES, '"increase"', "deltas"),
    "rate": (f"{ENTITY}).downs", f"{ENTITY}).rate('PT1M').downs", MISSES, '"rate"', "deltas"),
    "irate": (f"{ENTITY}).downs", f"{ENTITY}).irate().downs", MISSES, '"irate"', "deltas"),
    "maximum": (f"flight.sum({ENTITY})", f"flight.sum({ENTITY}).downsampling(MAX)", LEVEL, "MAX", "AVG"),
    "minimum": (f"flight.sum({ENTITY})", f"flight.sum({ENTITY}).downsampling(MIN)", LEVEL, "MIN", "AVG"),
    "latest": (f"flight.sum({ENTITY})", f"flight.sum({ENTITY}).downsampling(LATEST)", LEVEL, "LATEST", "AVG"),
    "power_of_ten": ("exp: ebpf_cache_misses.sum", "exp: (ebpf_cache_misses * 1e3).sum", MISSES, '"1e3"', "digits"),
    "negative_argument": (f"{ENTITY}).downs", f"{ENTITY}).valueGreater(-1).downs", MISSES, "negative", "compare"),
    "comparison": (f"{ENTITY}).downs", f"{ENTITY}) > 3.downs", MISSES, '">"', "plain"),
    "power": ("exp: ebpf_cache_misses.sum", "exp: (ebpf_cache_misses ** 2).sum", MISSES, '"**"', "plain"),
    "named_argument": ("histogram()", "histogram(le='le')", LATENCY, '"="', "plain"),
    "histogram_with_unit": ("histogram()", 'histogram("le", TimeUnit.SECONDS)', LATENCY, "arguments", "histogram()"),
    "broken_percentile": ("[99]", "[99.9]", LATENCY, "whole numbers", "[50,90,99]"),
    "buckets_without_percentile": (".histogram().histogram_percentile([99])", "", LATENCY, "buckets", "_count"),
    "buckets_without_bounds": (",'le'])", "])", LATENCY, "bounds", "'le'"),
    "percentile_of_a_counter": (f"{ENTITY}).downs", f"{ENTITY}).histogram().downs", MISSES, "no buckets", "histogram"),
    "filter_in_an_expression": (f"misses.sum({ENTITY})", "misses.filter({tags -> tags.cluster == 'a'})"
                                f".sum({ENTITY})", MISSES, '"filter"', "tagEqual"),
    "filter_for_a_label_that_is_not_sent": (f"misses.sum({ENTITY})", f"misses.tagEqual('caus','read').sum({ENTITY})",
                                            MISSES, '"caus"', ""),
    "unknown_function": (f"misses.sum({ENTITY})", f"misses.summ({ENTITY})", MISSES, '"summ"', '"sum"'),
    "unclosed_bracket": ("downsampling(SUM)\n  - name: l", "downsampling(SUM\n  - name: l", MISSES, "missing", "plain"),
    "unknown_layer": ("Layer.BANYANDB", "Layer.BANYANDBB", SUFFIX, '"BANYANDBB"', "BANYANDB"),
    "no_entity": (SUFFIX_LINE, "", MISSES - 1, "belong", "end"),
    "two_rules_of_one_name": ("name: latency", "name: misses", LATENCY - 1, '"misses"', "rename"),
    "name_with_a_dash": ("name: latency", "name: late-ncy", LATENCY - 1, "late-ncy", "_"),
    "long_name": ("name: latency", f"name: {'l' * LONGEST}", LATENCY - 1, "characters", str(LONGEST)),
    "another_job": ("'ebpf-sidecar'", "'banyandb-monitoring'", 1, "banyandb-monitoring", "ebpf-sidecar"),
    "colon_in_a_plain_value": ("Layer.BANYANDB)", "Layer.BANYANDB, {tags -> ['pod': tags.pod_name]})", SUFFIX,
                               "no YAML", "|-"),
    "no_yaml": ("metricsRules:", "metricsRules: [", 5, "no YAML", "correct"),
    "no_mapping": (RIGHT, "- a", 1, "no mapping", "metricPrefix"),
    "no_prefix": ("metricPrefix: meter_ours\n", "", 1, '"metricPrefix" is missing', "add"),
    "unknown_key": ("expSuffix:", "expSufix:", SUFFIX, '"expSufix"', "expSuffix"),
    "rule_without_expression": ("in_flight\n    exp", "in_flight\n    ex", LEVEL - 1, '"exp"', "add"),
}  # fmt: skip
"""What is replaced, by what; the line of the problem, and words of its two halves."""
COLON_AS_BLOCK = RIGHT.replace(
    "instance(['cluster'], ['oap_instance'], Layer.BANYANDB)",
    "|-\n  instance(['cluster'], ['oap_instance'], Layer.BANYANDB, {tags -> ['pod': tags.pod_name]})",
)


def planted(old, new):
    """The right file with one mistake."""
    assert old in RIGHT
    return RIGHT.replace(old, new, 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_right_file_has_no_problem(version):
    """In each release, with a layer that it has."""
    text = RIGHT if "BANYANDB" in layers(version) else for_older(RIGHT)

    assert [] == check_rules(text, version)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found_in_its_line(name):
    """With what is wrong, and what to do."""
    old, new, line, what, remedy = PLANTED[name]
    found = check_rules(planted(old, new), "11")

    assert [each for each in found if each.line == line and what in each.what and remedy in each.remedy], found


@pytest.mark.parametrize("version", ["10.1", "10.2"])
def test_a_layer_is_refused_where_the_release_does_not_have_it(version):
    """It would not start."""
    [problem] = check_rules(RIGHT, version)

    assert f'2: the layer "BANYANDB" is not known in {version}' in str(problem)


def test_a_layer_that_the_file_defines_is_known():
    """As 11 allows."""
    defined = RIGHT.replace("BANYANDB", "EBPF") + "layerDefinitions:\n  - {name: EBPF, ordinal: 100001}\n"

    assert [] == check_rules(defined, "11")


def test_an_unknown_release_is_refused_with_those_that_are_known():
    """Rather than checked as if it were another."""
    with pytest.raises(ValueError, match=r'"9\.7".*10\.1'):
        check_rules(RIGHT, "9.7")


def test_a_label_that_only_the_properties_of_an_instance_read_must_stay():
    """Without it the rule fails at every point."""
    found = check_rules(COLON_AS_BLOCK, "11")

    assert {(line, "pod_name") for line in (7, 9, 12)} == {(each.line, each.what.split('"')[3]) for each in found}


def test_a_label_that_a_closure_makes_is_one():
    """It names the entity like one that is sent."""
    made = planted("misses.sum(", "misses.tag({tags -> tags.x = tags.pod_name + '@'}).sum(").replace(
        "['oap_instance'], L", "['x'], L"
    )

    assert [] == [each for each in check_rules(made, "11") if each.line == MISSES]


def test_all_mistakes_are_found_at_once_in_the_order_of_the_lines():
    """So that nobody has to start OAP again for each."""
    wrong = (
        planted("ebpf_cache_misses", "ebpf_cache_miss").replace("Layer.BANYANDB", "Layer.NONE").replace("[99]", "[9.9]")
    )

    assert [SUFFIX, MISSES, LATENCY] == [each.line for each in check_rules(wrong, "10.4")]


def test_the_command_prints_the_file_with_each_problem(tmp_path, capsys):
    """And ends with 1; with 0 for ours, and 2 for a release that it does not know."""
    file = tmp_path / "mine.yaml"
    file.write_text(planted("ebpf_cache_misses", "ebpf_cache_miss"))

    assert 1 == main(["check", "10.4", str(file)])
    assert (
        f'{file}:6: no metric "ebpf_cache_miss" is sent; did you mean "ebpf_cache_misses"?' in capsys.readouterr().out
    )
    assert 0 == main(["check", "11"])
    assert 2 == main(["check", "9.7"])

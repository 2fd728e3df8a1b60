# SPDX-License-Identifier: Apache-2.0
"""The documents say what the code does: fresh, complete, with links that lead somewhere and examples that work."""

import re
import shlex
from importlib.metadata import EntryPoint
from pathlib import Path

import documents
import yaml
from cogapp import Cog
from documents.probes import prometheus_name

from ebpf_sidecar.pipeline.component import ComponentKind
from ebpf_sidecar.pipeline.config.load import InlineSource, load
from ebpf_sidecar.pipeline.errors import SidecarError
from ebpf_sidecar.pipeline.frame import Kind
from ebpf_sidecar.pipeline.plugins import PROJECT, Plugins
from ebpf_sidecar.pipeline.telemetry.catalogue import SERVICE, catalogue
from ebpf_sidecar.pipeline.telemetry.exposition import InternalTelemetry
from ebpf_sidecar.pipeline.telemetry.ledger import COUNTERS, EXPORTER_GAUGES, RELOAD_GAUGES, Instrument, Ledger
from ebpf_sidecar.pipeline.testing import check_contract, fake_context, frame
from ebpf_sidecar.receivers.ebpf.probe.shapes import SHAPES

ROOT = Path(__file__).parents[1]
MARKDOWN = sorted(path for path in ROOT.rglob("*.md") if not str(path.relative_to(ROOT)).startswith("."))
WIDTH = 120
CATALOGUE = """
ebpf.cache.read_attempts       counter   {page}    ebpf_cache_read_attempts_total
ebpf.cache.misses              counter   {page}    ebpf_cache_misses_total
ebpf.cache.mapped_faults       counter   {fault}   ebpf_cache_mapped_faults_total
ebpf.cache.mapped_misses       counter   {fault}   ebpf_cache_mapped_misses_total
ebpf.page_cache.adds           counter   {page}    ebpf_page_cache_adds_total
ebpf.page_cache.removes        counter   {page}    ebpf_page_cache_removes_total
ebpf.page_cache.written_back   counter   {page}    ebpf_page_cache_written_back_total
ebpf.cache.hit_rate            gauge     %         ebpf_cache_hit_rate_percent
ebpf.cache.miss_rate           gauge     %         ebpf_cache_miss_rate_percent
ebpf.cache.mapped_hit_rate     gauge     %         ebpf_cache_mapped_hit_rate_percent
ebpf.fadvise.calls             counter   {call}    ebpf_fadvise_calls_total
ebpf.fadvise.success           counter   {call}    ebpf_fadvise_success_total
ebpf.fadvise.advice            counter   {call}    ebpf_fadvise_advice_total
ebpf.fadvise.success_rate      gauge     %         ebpf_fadvise_success_rate_percent
ebpf.memory.reclaim_efficiency gauge     %         ebpf_memory_reclaim_efficiency_percent
ebpf.memory.lru.pages_scanned  counter   {page}    ebpf_memory_lru_pages_scanned_total
ebpf.memory.direct_reclaim.processes gauge {process} ebpf_memory_direct_reclaim_processes
ebpf.memory.direct_reclaim.duration histogram s    ebpf_memory_direct_reclaim_duration_seconds
ebpf.memory.oom_kills          counter   {kill}    ebpf_memory_oom_kills_total
ebpf.syscall.duration          histogram s         ebpf_syscall_duration_seconds
ebpf.syscall.errors            counter   {error}   ebpf_syscall_errors_total
ebpf.syscall.io                counter   By        ebpf_syscall_io_bytes_total
ebpf.block.io.duration         histogram s         ebpf_block_io_duration_seconds
ebpf.block.io.queue.duration   histogram s         ebpf_block_io_queue_duration_seconds
ebpf.block.io.size             histogram By        ebpf_block_io_size_bytes
ebpf.block.io.errors           counter   {error}   ebpf_block_io_errors_total
ebpf.map.entries               gauge     {entry}   ebpf_map_entries
ebpf.map.capacity              gauge     {entry}   ebpf_map_capacity
ebpf.map.memory                gauge     By        ebpf_map_memory_bytes
ebpf.probe.attached            gauge     {hook}    ebpf_probe_attached
ebpf.probe.runs                counter   {run}     ebpf_probe_runs_total
ebpf.probe.run_time            counter   s         ebpf_probe_run_time_seconds_total
ebpf.tracked_pids              gauge     {process} ebpf_tracked_pids
ebpf.attribution.coverage      gauge     1         ebpf_attribution_coverage_ratio
ebpf.collector.errors          counter   {error}   ebpf_collector_errors_total
"""  # what existing alerts and dashboards rely on; a change here breaks users


def read(name):
    """A document's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def fences(language):
    """All code blocks of a language: the document and line where each starts, and its text."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for path in MARKDOWN:
        text = path.read_text(encoding="utf-8")
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path.relative_to(ROOT)}:{line}", match[1]


def test_the_generated_parts_are_fresh(monkeypatch, capsys):
    """The same check as `make check`; after a change `make docs` updates them."""
    monkeypatch.chdir(ROOT)
    options = shlex.split(re.search(r"^COG = (.*)$", read("Makefile"), re.MULTILINE)[1])
    files = [str(path.relative_to(ROOT)) for path in MARKDOWN]

    assert 0 == Cog().main(["cog", *options, "--check", *files]), f"run make docs:\n{capsys.readouterr().out}"


def test_make_checks_all_documents():
    """One in a new place is not forgotten."""
    patterns = re.search(r"^MARKDOWN = \$\(wildcard (.*)\)$", read("Makefile"), re.MULTILINE)[1].split()

    assert [] == [path for path in MARKDOWN if not any(path in ROOT.glob(pattern) for pattern in patterns)]


def test_everything_that_is_made_from_the_code_has_its_place():
    """A table that was removed from a document, or forgotten for a new kind, is found here; what stands in it
    is fresh (see above), and complete as tests/documents/ proves.
    """
    text = "\n".join(path.read_text(encoding="utf-8") for path in MARKDOWN)
    made = set(re.findall(r"\[\[\[cog print\(documents\.(\w+\((?:\"\w+\")?)", text))
    wanted = {f'components("{kind.value}"' for kind in ComponentKind}
    wanted |= {f'probe_keys("{shape}"' for shape in SHAPES}
    wanted |= {f"{name}(" for name in documents.__all__ if name not in ("components", "probe_keys")}

    assert wanted == made


def test_the_names_that_users_rely_on_hold():
    """Name, kind, unit and Prometheus name of each metric of the catalogue that exists so far."""
    found = [(metric.name, metric.kind.value, metric.unit) for metric in catalogue(Plugins())]
    actual = {(name, kind, unit, prometheus_name(name, unit, kind)) for name, kind, unit in found}
    expected = {tuple(line.split()) for line in CATALOGUE.strip().splitlines()}

    assert set() == expected - actual


def test_internal_telemetry_has_its_documented_names_on_the_page():
    """The table's names are made by our translation, the page's by OpenTelemetry's package."""
    ledger = Ledger()
    metrics = InternalTelemetry(ledger, {})
    for counter in COUNTERS:
        ledger.add(counter, 1, ())
    own = (each for each in catalogue(Plugins()) if each.name.startswith("ebpf_sidecar.") and each.made_by != SERVICE)
    parts = [each for each in own if not each.name.startswith("ebpf_sidecar.receiver.")]
    for gauge in (*EXPORTER_GAUGES, *RELOAD_GAUGES):
        ledger.gauge(gauge, (), lambda: 1.0)
    for part in parts:
        publish = ledger.counter if part.kind is Kind.COUNTER else ledger.gauge
        publish(Instrument(*part.instrument), (), lambda: 1.0)
    _, text = (metrics.exposition(in_openmetrics=False).decode() for _ in range(2))  # at first some are 0
    metrics.shutdown()
    reported = re.findall(
        r"`(ebpf_(?:collector|sidecar_(?!receiver_(?!accepted|refused)))\w+)`", read("pipeline/README.md")
    )

    assert len(COUNTERS) + len(EXPORTER_GAUGES) + len(RELOAD_GAUGES) + len(parts) == len(reported)
    assert [] == [name for name in reported if f"\n{name} 1.0\n" not in text]


def test_every_make_target_has_a_description():
    """Where a contributor looks for it: in its own line, which `make help` prints."""
    lines = re.findall(r"^[a-z][a-z-]*:.*$", read("Makefile"), re.MULTILINE)

    assert 10 < len(lines)
    assert [] == [line for line in lines if " ## " not in line]


def test_every_environment_variable_is_documented():
    """All that sources and ready configurations mention."""
    folders = ("pipeline", "receivers", "processors", "exporters", "configs")
    files = [path for folder in folders for kind in ("*.py", "*.yaml") for path in (ROOT / folder).rglob(kind)]
    pattern = re.compile(r"(?<![A-Z_])(?:EBPF_SIDECAR_[A-Z_]+|OTEL_[A-Z_]+|NO_COLOR)")
    names = {name for path in files for name in pattern.findall(path.read_text(encoding="utf-8"))}

    assert {"EBPF_SIDECAR_CONFIG", "NO_COLOR"} <= names
    assert [] == [name for name in sorted(names) if f"| `{name}` " not in read("pipeline/README.md")]


def prose_of(path):
    """A document's text without its code blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_every_relative_link_leads_somewhere():
    """To a file or folder that is there, and to a heading in it where one is named."""
    links = [(path, link) for path in MARKDOWN for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(path))]
    relative = [(path, link) for path, link in links if not re.match(r"[a-z]+:", link)]

    assert 50 < len(relative)
    assert [] == [(str(path.relative_to(ROOT)), link) for path, link in relative if not leads_somewhere(path, link)]


def leads_somewhere(document, link):
    """Whether the file is there and has the heading, under the name that GitHub gives it."""
    name, _, anchor = link.partition("#")
    target = document.parent / name if name else document
    if not anchor or not target.exists():
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_file_that_is_named_exists():
    """Files and folders of the tree that documents mention without a link, placeholders aside."""
    folder = r"(?:pipeline|receivers|processors|exporters|bpf|configs|deploy|tests|bench|\.ci)/"
    text = "\n".join(path.read_text(encoding="utf-8") for path in MARKDOWN)
    named = set(re.findall(rf"`({folder}[\w./-]*)`", text))

    assert "bench/probe_cost.py" in named
    assert [] == [name for name in sorted(named) if not (ROOT / name).exists()]


def test_documents_read_well_as_plain_text():
    """Prose is wrapped, except the two lists to which everyone adds."""
    wrapped = [path for path in MARKDOWN if path.name not in ("CHANGELOG.md", "DECISIONS.md")]
    lines = [(str(path.relative_to(ROOT)), line) for path in wrapped for line in prose_of(path).splitlines()]

    assert 300 < len(lines)
    assert [] == [(name, line) for name, line in lines if len(line) > WIDTH and not line.startswith("|")]


def test_no_document_names_somebodys_machine():
    """Paths of a home folder or working copy do not help others."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in MARKDOWN)

    assert [] == re.findall(r"(?<![\w.])/(?:home|root|Users|work|tmp)/\S*", text)


def test_every_configuration_in_the_documents_is_right():
    """A whole one is loaded; of a part of one, each component takes its settings."""
    mistakes = {place: mistake_in(text) for place, text in fences("yaml")}

    assert 5 < len(mistakes)
    assert dict.fromkeys(mistakes) == mistakes


def mistake_in(text):
    """Why a configuration, or a part of one, is wrong; None if it is right."""
    tree = yaml.safe_load(text)
    try:
        if {"receivers", "exporters", "service"} <= set(tree):
            return None if load([InlineSource(text.encode())], [], Plugins(), {}).service.pipelines else "no pipelines"
        checked = [
            Plugins().factory(kind, key.partition("/")[0]).settings(**(body or {}))
            for kind in ComponentKind
            for key, body in tree.get(kind.section, {}).items()
        ]
    except (SidecarError, ValueError) as mistake:
        return str(mistake)
    return None if checked or "service" in tree else "neither a component nor a service"


def test_the_component_in_the_documents_works(tmp_path, monkeypatch):
    """Found by its entry point as the README says, made, and given a frame: a tenth of the misses comes out."""
    [(_, text)] = fences("python")
    (tmp_path / "my_package.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    [entry] = re.findall(r'`"(processor\.\w+) = "(\w+)"`'.replace(" =", '" ='), read("README.md"))
    plugins = Plugins([EntryPoint(*entry, PROJECT)])
    factory = plugins.factory(ComponentKind.PROCESSOR, entry[0].partition(".")[2])
    processor = factory.create(factory.settings(), fake_context(factory.kind, factory.type))
    misses, others = processor.process([frame("ebpf.cache.misses", [23]), frame("ebpf.page_cache.removes", [23])])

    check_contract(factory, {})  # what a third party copies must pass the check that it is asked to run
    assert [2] == misses.values.tolist()
    assert [23] == others.values.tolist()

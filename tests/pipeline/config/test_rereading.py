# SPDX-License-Identifier: Apache-2.0
"""A configuration that is read again, and whether its files have changed since it was read."""

import os

import pytest

from ebpf_sidecar.pipeline.config.load import InlineSource
from ebpf_sidecar.pipeline.config.rereading import ConfigReader
from ebpf_sidecar.pipeline.errors import ConfigError
from ebpf_sidecar.pipeline.plugins import Plugins

TEXT = """
receivers: {replay: {}}
exporters: {prometheus: {const_labels: {zone: "${file:ZONE}"}}}
service: {pipelines: {metrics: {receivers: [replay], exporters: [prometheus]}}}
"""


@pytest.fixture
def files(tmp_path):
    """A configuration, a file that it refers to, and their reader, which has read them."""
    config, zone = tmp_path / "config.yaml", tmp_path / "zone"
    config.write_text(TEXT.replace("ZONE", str(zone)))
    zone.write_text("north")
    reader = ConfigReader([config], ["exporters.prometheus.path=/m"], Plugins(), {})
    reader.read()
    return config, zone, reader


def prometheus(reader):
    """The exporter's settings, read now."""
    return next(iter(reader.read().exporters.values())).settings


def test_files_references_and_overrides_are_read_again(files):
    """All that belongs to the command line of the service."""
    config, zone, reader = files
    zone.write_text("south")
    config.write_text(config.read_text().replace("const_labels", "metric_expiration: 1m, const_labels"))
    settings = prometheus(reader)

    assert ({"zone": "south"}, 60.0, "/m") == (settings.const_labels, settings.metric_expiration, settings.path)


@pytest.mark.parametrize("which", [0, 1], ids=["configuration", "reference"])
def test_another_content_is_a_change_until_it_is_read(files, which):
    """The same content in another file, or at another time, is none."""
    file, reader = files[which], files[2]
    before = reader.changed()
    new = file.with_name("new")
    new.write_text(file.read_text())
    new.rename(file)
    os.utime(file, (1, 1))
    same = reader.changed()
    file.write_text(file.read_text() + "\n")
    changed = reader.changed()
    reader.read()

    assert (False, False, True, False) == (before, same, changed, reader.changed())


def test_a_config_map_changes_by_a_link_above_its_files(tmp_path):
    """As Kubernetes does it: ..data leads to another folder."""
    for version in ("1", "2"):
        folder = tmp_path / f"..version{version}"
        folder.mkdir()
        (folder / "config.yaml").write_text(f"{TEXT.replace('${file:ZONE}', version)}")
    data = tmp_path / "..data"
    data.symlink_to("..version1")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    reader = ConfigReader([tmp_path / "config.yaml"], [], Plugins(), {})
    labels = [prometheus(reader).const_labels]
    (tmp_path / "..new").symlink_to("..version2")
    (tmp_path / "..new").rename(data)
    changed = reader.changed()
    labels.append(prometheus(reader).const_labels)

    assert ([{"zone": "1"}, {"zone": "2"}], True, False) == (labels, changed, reader.changed())


def test_a_wrong_file_is_read_once_and_again_when_it_has_changed(files):
    """Half a file is wrong, too; the other half is a change."""
    config, _, reader = files
    whole = config.read_text()
    config.write_text(whole[:40])
    seen = [reader.changed()]
    with pytest.raises(ConfigError):
        reader.read()
    seen.append(reader.changed())
    config.write_text(whole)
    seen.append(reader.changed())

    assert [True, False, True] == seen
    reader.read()


def test_a_file_that_is_gone_is_a_change_and_so_is_its_return(files):
    """Somebody may be replacing it."""
    _, zone, reader = files
    zone.unlink()
    seen = [reader.changed()]
    with pytest.raises(ConfigError, match="no such file"):
        reader.read()
    seen.append(reader.changed())
    zone.write_text("north")

    assert [True, False, True] == [*seen, reader.changed()]


def test_standard_input_is_kept_and_a_pipe_is_not_looked_at(tmp_path):
    """They can be read only once."""
    text = TEXT.replace("${file:ZONE}", "x").encode()
    inline = ConfigReader([InlineSource(text)], [], Plugins(), {})
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    piped = ConfigReader([fifo], [], Plugins(), {}, {fifo: 1})

    assert inline.read().exporters == inline.read().exporters
    assert (False, False) == (inline.changed(), piped.changed())

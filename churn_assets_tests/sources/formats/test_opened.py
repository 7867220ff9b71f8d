"""What becomes of each file in ``dirty``."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from churn_assets.errors import SourceError
from churn_assets.months import Month
from churn_assets.sources.file import File, deliver
from churn_assets.spec.source import FileFormat
from churn_assets_tests.sources import dirty
from churn_assets_tests.sources.dirty import Dirty

JAN = Month(2024, 1)
PLACE = ("_file", "_line", "_defect", "_text")


@pytest.mark.parametrize("file", [case for case in dirty.ALL if case.refused is None], ids=str)
def test_it_is_read(file: Dirty, tmp_path: Path) -> None:
    path = file.put(tmp_path)
    delivery = deliver([File.local(path)], FileFormat(**file.how), JAN)
    found = pl.DataFrame(pl.from_arrow(delivery.batches.read_all()))
    own = [name for name in found.columns if name not in PLACE]
    broken = pl.col("_defect").is_not_null() if "_defect" in found.columns else pl.lit(False)
    assert found.filter(~broken).select(own).rows() == file.rows
    if file.lines:
        assert found["_line"].to_list() == file.lines
    if file.columns:
        assert own == file.columns
    if "_defect" in found.columns:
        assert found.filter(broken).select("_line", "_defect", "_text").rows() == file.defects
        assert found.filter(broken).select(pl.any_horizontal(pl.col(own).is_not_null())).to_series().not_().all()
    assert set(found["_file"]) <= {file.name}
    details = delivery.provenance["files"][0]
    assert {name: details[name] for name in file.details} == file.details
    assert (file.doubt is None and not delivery.doubts) or (
        len(delivery.doubts) == 1 and file.doubt in delivery.doubts[0]
    )


@pytest.mark.parametrize("file", [case for case in dirty.ALL if case.refused is not None], ids=str)
def test_it_is_refused(file: Dirty, tmp_path: Path) -> None:
    path = file.put(tmp_path)
    with pytest.raises(SourceError) as error:
        deliver([File.local(path)], FileFormat(**file.how), JAN).batches.read_all()
    told = str(error.value)
    assert file.refused in told
    assert told.startswith(str(path)) and told.endswith("Nothing was ingested.")

import pytest

from glagcn.runs.journal import Journal
from tests.full_disk import files_limited_to


def test_lines_are_there_as_soon_as_they_are_added(tmp_path):
    journal = Journal(tmp_path / "log.txt", pytest.fail)
    journal.add("one\ntwo")
    journal.add("\udcff")
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n\\udcff\n"
    journal.close()


def test_an_existing_file_goes_on(tmp_path):
    (tmp_path / "log.txt").write_text("one\n")
    journal = Journal(tmp_path / "log.txt", pytest.fail)
    journal.add("two")
    journal.close()
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"


def test_lines_that_cannot_be_written_are_written_later_and_warned_of_once(tmp_path):
    warnings = []
    journal = Journal(tmp_path / "log.txt", warnings.append)
    with files_limited_to(6):
        for line in ("one", "two", "three"):  # the second is cut off in its middle
            journal.add(line)
        assert (tmp_path / "log.txt").read_text() == "one\ntw"
    journal.add("four")
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\nthree\nfour\n"
    assert len(warnings) == 1
    assert "log.txt: File too large" in warnings[0]
    with files_limited_to(6):
        journal.add("five")
    journal.close()
    assert (tmp_path / "log.txt").read_text().endswith("four\nfive\n")
    assert len(warnings) == 2


def test_a_file_that_is_never_written_ends_nothing(tmp_path):
    warnings = []
    journal = Journal(tmp_path / "log.txt", warnings.append)
    with files_limited_to(0):
        journal.add("one")
        journal.close()
    assert len(warnings) == 1

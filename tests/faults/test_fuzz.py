"""A sample of what fuzz.py does by hand, in this process."""

import pytest

from tests.faults.fuzz import OUTCOMES, READERS, Case, rng_of

SAMPLE = 20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_a_spoilt_file_is_read_or_refused_with_one_message(tmp_path, name):
    case = Case(READERS[name], tmp_path)
    for number in range(SAMPLE):
        case.spoil(rng_of(name, number))
        outcome, text = case.read()
        assert outcome in OUTCOMES[:2], f"case {number}: {text}"
        assert outcome == "read" or str(tmp_path) in text, f"case {number} does not name the file: {text}"

"""Some rounds of each fault; ``make test-faults`` runs all of them."""

import faults
import pytest

# Beside these, the files of test_engine and test_utils try a fault each.
PARTS = {
    'killed (SIGKILL)': 0.03,
    'killed within a save': 0.15,
    'the disk is full': 0.3,
    'the work dir is read-only': 0.5,
    'two runs in one work dir': 0.2,
    'two runs build one image cache': 0.2,
    'in a file of features': 1,
    'in an image cache': 0.2,
    'an image that is none': 1,
    'a manifest with changed bytes': 0.3,
    'an attribute file': 0.1,
    'a config with changed bytes': 0.2,
}


@pytest.mark.parametrize('name', PARTS)
def test_nothing_is_lost(name):
    (whole_name,) = (full for full in faults.FAULTS if name in full)
    _, result = faults.try_fault(whole_name, PARTS[name], seed=1)
    assert not result.lost, result.outcome

"""A kill at a random moment; `python tests/stress/kills.py --kills 100` is the long form."""
import importlib.util
import pathlib

import pytest

SPEC = importlib.util.spec_from_file_location('kills', pathlib.Path(__file__).with_name('kills.py'))
kills = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(kills)


@pytest.mark.slow
def test_a_training_that_is_killed_ends_bit_identical(tmp_path):
  row = kills.stress(tmp_path, kills=1, seed=0, epochs=5.0)
  assert row['kills'] == 1 and row['steps'] > 60


def test_a_difference_would_be_seen(tmp_path, monkeypatch):
  monkeypatch.setattr(kills, 'finish', lambda *_: None)
  results = iter([{'weights': 'a'}, {'weights': 'b'}])
  monkeypatch.setattr(kills, 'outcome', lambda _: next(results))
  with pytest.raises(AssertionError, match='weights is not that of the training that was left alone'):
    kills.stress(tmp_path, kills=0, seed=0, epochs=1.0)

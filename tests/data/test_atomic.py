import pytest

from framebridge_jax.data import atomic


def test_the_target_appears_with_all_that_was_written(tmp_path):
  target = tmp_path / 'a.txt'
  with atomic.replacing(target) as part:
    part.write_text('new')
    assert not target.exists()
  assert target.read_text() == 'new'
  assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
  target = tmp_path / 'a.txt'
  target.write_text('old')
  with pytest.raises(KeyboardInterrupt), atomic.replacing(target) as part:
    part.write_text('half')
    raise KeyboardInterrupt
  assert target.read_text() == 'old'
  assert list(tmp_path.iterdir()) == [target]

import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from framebridge_jax.data.builders import physics_pool

ROOT = pathlib.Path(__file__).parents[2]
WORK = """
import time
from framebridge_jax.data.builders import physics_pool

def nap(number):
  time.sleep(0.5)

if __name__ == '__main__':
  list(physics_pool.in_order(nap, 1000, workers=2))
"""


@pytest.mark.parametrize('workers', [1, 2])
def test_results_come_in_order_from_any_number_of_workers(workers):
  results = list(physics_pool.in_order(math.sqrt, 50, workers=workers))
  assert results == [math.sqrt(i) for i in range(50)]


def test_a_worker_that_dies_is_an_error_and_not_a_wait():
  with pytest.raises(physics_pool.WorkerError, match='fewer than 1'):
    list(physics_pool.in_order(os._exit, 3, workers=1))


def test_an_error_of_the_work_comes_through():
  with pytest.raises(ValueError, match='math domain error'):
    list(physics_pool.in_order(math.log, 3, workers=1))


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(tmp_path, number):
  script = tmp_path / 'work.py'
  script.write_text(WORK)
  path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
  child = subprocess.Popen(
    [sys.executable, script], env={**os.environ, 'PYTHONPATH': path}
  )
  processes = []
  while len(processes) < 3:  # and the tracker of resources
    assert child.poll() is None
    time.sleep(0.2)
    processes = psutil.Process(child.pid).children()
  time.sleep(3)
  child.send_signal(number)
  assert child.wait(20) != 0
  _, alive = psutil.wait_procs(processes, timeout=20)
  assert not alive

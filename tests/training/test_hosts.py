"""Where a process stands, and who has come."""

import concurrent.futures
import socket
import time

import pytest

from framebridge_jax.training import hosts, muster

EXPLICIT = {
  'JAX_COORDINATOR_ADDRESS': 'a.example:1234',
  'JAX_NUM_PROCESSES': '4',
  'JAX_PROCESS_ID': '3',
}
SLURM = {
  'SLURM_STEP_NODELIST': 'gpu[007-009,12]',
  'SLURM_JOB_ID': '4101',
  'SLURM_NTASKS': '4',
  'SLURM_PROCID': '0',
}
TPU = {'TPU_WORKER_HOSTNAMES': '10.0.0.1,10.0.0.2', 'TPU_WORKER_ID': '1'}


@pytest.mark.parametrize(
  ('environ', 'wanted'),
  [
    ({}, None),
    (EXPLICIT, ('a.example:1234', 4, 3)),
    (EXPLICIT | {'JAX_NUM_PROCESSES': '1', 'JAX_PROCESS_ID': '0'}, None),
    (SLURM, (f'gpu007:{61440 + 4101 % 4094}', 4, 0)),
    (SLURM | {'SLURM_STEP_NODELIST': 'n3'}, (f'n3:{61440 + 7}', 4, 0)),
    (SLURM | {'SLURM_STEP_NODELIST': 'a-1,b-2'}, (f'a-1:{61440 + 7}', 4, 0)),
    (SLURM | {'SLURM_NTASKS': '1'}, None),
    (TPU, ('10.0.0.1:61440', 2, 1)),
    ({'TPU_WORKER_HOSTNAMES': 'localhost', 'TPU_WORKER_ID': '0'}, None),
    (SLURM | EXPLICIT, ('a.example:1234', 4, 3)),
  ],
)
def test_the_environment_says_where_a_process_stands(environ, wanted):
  assert hosts.place(environ) == wanted


@pytest.mark.parametrize(
  ('change', 'words'),
  [
    ({'JAX_PROCESS_ID': ''}, 'JAX_PROCESS_ID is not; set all of'),
    ({'JAX_PROCESS_ID': '4'}, 'process 4 of 4; they count from 0'),
    ({'JAX_NUM_PROCESSES': 'two'}, "JAX_NUM_PROCESSES='two'"),
    ({'JAX_COORDINATOR_ADDRESS': 'a.example'}, 'name no process of several'),
  ],
)
def test_half_a_place_is_refused(change, words):
  with pytest.raises(hosts.HostError, match=words):
    hosts.place(EXPLICIT | change)


def _port():
  with socket.socket() as one:
    one.bind(('', 0))
    return one.getsockname()[1] - 1


def _come(indices, count, wait):
  """What becomes of processes, here threads, that come."""
  where = f'localhost:{_port()}'

  def come(index):
    try:
      with muster.held(where, count, index, wait=wait):
        return 'there'
    except muster.HostError as error:
      return str(error)

  with concurrent.futures.ThreadPoolExecutor(len(indices)) as pool:
    return list(pool.map(come, indices))


def test_all_go_when_all_are_there():
  assert _come([2, 0, 1], 3, wait=20) == ['there'] * 3


def test_who_is_missing_is_told_to_all_who_came():
  me = socket.gethostname()
  for said in _come([0, 2], 4, wait=1.5):
    assert 'of 4 processes 1, 3 did not come within 1.5 s' in said
    assert f'here are 0 ({me}), 2 ({me})' in said


def test_without_the_first_the_others_say_where_they_looked():
  (said,) = _come([1], 2, wait=0.5)
  assert 'process 0 of 2 did not answer at localhost:' in said
  assert f'this is process 1 on {socket.gethostname()}' in said


def test_a_port_that_is_taken_is_named():
  with socket.create_server(('', 0)) as server:
    port = server.getsockname()[1]
    with (
      pytest.raises(muster.HostError, match=f'port {port} cannot be listened'),
      muster.held(f'localhost:{port - 1}', 2, 0, wait=1),
    ):
      pass


def test_strangers_at_the_port_are_not_taken_for_a_process():
  port = _port()

  def call():
    for words in (b'GET / HTTP/1.1\r\n\r\n', b'[1]\n', b'{"index": "1"}\n'):
      for _ in range(50):
        try:
          with socket.create_connection(('localhost', port + 1), 1) as one:
            one.sendall(words)
          break
        except ConnectionError:
          time.sleep(0.02)

  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    calling = pool.submit(call)
    with (
      pytest.raises(hosts.HostError, match='of 2 processes 1 did not come'),
      muster.held(f'localhost:{port}', 2, 0, wait=1.5),
    ):
      pass
    calling.result()

"""Who is there: connections of all processes to the first.

Lines of JSON go over them.  A process that comes says `{"index": 1, "host":
"b"}` and hears `{"go": true}` when all are there, or `{"missing": "..."}` when
the time is over.  One that leaves says `{"end": "..."}`, with its error if it
has one; a connection that closes without that belonged to one that died.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator


class HostError(ValueError):
  """A process has not come, or is gone."""

  exit_code = 6


@contextlib.contextmanager
def held(
  coordinator: str, count: int, index: int, *, wait: float
) -> Iterator[None]:
  """Waits for all processes, and ends this one when another dies.

  Args:
    coordinator: `address:port` of the first; the next port is taken.
    count: of all.
    index: of this one.
    wait: seconds within which all must have come.

  Raises:
    HostError: some have not come in time; they are named.
  """
  address, _, port = coordinator.rpartition(':')
  where = address.strip('[]'), int(port) + 1
  deadline = time.monotonic() + wait
  if index == 0:
    peers = _gather(where[1], count, deadline, wait)
  else:
    peers = {0: _go(where, count, index, deadline, wait)}
  watch = _Watch(peers, count)
  try:
    yield
  except BaseException as error:
    # It may come of another's death, for which there are better words.
    time.sleep(10 * _SOON)
    watch.leave(f'{type(error).__name__}: {error}'[:_LETTERS])
    raise
  watch.leave('')


class _Peer:
  """Another process, at the end of a connection."""

  def __init__(self, connection, host=''):
    self.host = host
    self._connection = connection
    self._lines = connection.makefile('r', encoding='utf-8')

  def send(self, **line):
    with contextlib.suppress(OSError):  # it is gone, which is told elsewhere
      self._connection.sendall((json.dumps(line) + '\n').encode())

  def receive(self, seconds=None):
    """The next line; None when the connection is closed or broken.

    Raises:
      TimeoutError: nothing came for so many seconds.
    """
    self._connection.settimeout(seconds)
    try:
      text = self._lines.readline()
      return json.loads(text) if text else None
    except TimeoutError:
      raise
    except (OSError, ValueError):
      return None


def _gather(port, count, deadline, wait):
  """Connections of the others, once all are there."""
  peers: dict[int, _Peer] = {}
  try:
    server = socket.create_server(
      ('', port),
      family=socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET,
      dualstack_ipv6=socket.has_dualstack_ipv6(),
    )
  except OSError as error:
    raise HostError(
      f'port {port} cannot be listened at ({error.strerror}), where the other '
      f'{count - 1} processes are to come; free it, or choose another '
      f'coordinator'
    ) from None
  with server:
    while len(peers) < count - 1:
      server.settimeout(max(deadline - time.monotonic(), 0.001))
      try:
        peer = _Peer(server.accept()[0])
        hello = peer.receive(_HELLO)
      except TimeoutError:
        hello = None
      if _is_of(hello, count):
        peer.host = hello['host']
        peers[hello['index']] = peer
      if time.monotonic() > deadline:
        break
  missing = [str(i) for i in range(1, count) if i not in peers]
  if missing:
    here = [f'0 ({socket.gethostname()})']
    here += [f'{i} ({peers[i].host})' for i in sorted(peers)]
    said = (
      f'of {count} processes {", ".join(missing)} did not come within '
      f'{wait:g} s; here are {", ".join(here)}; see why, and start all again'
    )
    for peer in peers.values():
      peer.send(missing=said)
    raise HostError(said)
  for peer in peers.values():
    peer.send(go=True)
  return peers


def _is_of(hello, count):
  """Whether a process of ours said so; anyone can call at a port."""
  return (
    isinstance(hello, dict)
    and isinstance(hello.get('index'), int)
    and 0 < hello['index'] < count
    and isinstance(hello.get('host'), str)
  )


def _go(where, count, index, deadline, wait):
  """The connection to the first, once all are there."""
  while True:
    try:
      peer = _Peer(socket.create_connection(where, timeout=1), where[0])
      break
    except OSError as error:
      if time.monotonic() > deadline:
        raise HostError(
          f'process 0 of {count} did not answer at {where[0]}:{where[1]} '
          f'within {wait:g} s ({error.strerror or error}); this is process '
          f'{index} on {socket.gethostname()}'
        ) from None
      time.sleep(_PAUSE)
  peer.send(index=index, host=socket.gethostname())
  try:
    answer = peer.receive(max(deadline - time.monotonic(), 0) + _HELLO)
  except TimeoutError:
    answer = None
  if not answer or 'go' not in answer:
    raise HostError(
      (answer or {}).get('missing')
      or f'process 0 of {count} at {where[0]} ended while process {index} '
      f'waited for the others'
    )
  return peer


class _Watch:
  """Looks at the connections in threads of its own."""

  def __init__(self, peers, count):
    self._peers = peers
    self._count = count
    self._left = False
    for index, peer in peers.items():
      threading.Thread(
        target=self._follow, args=(index, peer), daemon=True
      ).start()

  def leave(self, reason):
    """Says that this process ends by itself."""
    self._left = True
    for peer in self._peers.values():
      peer.send(end=reason)

  def _follow(self, index, peer):
    line = peer.receive()
    if self._left or (line and line.get('end') == ''):
      return
    who = f'process {index} of {self._count} ({peer.host})'
    if not line:
      self._end(f'{who} is gone', _SOON)
    elif 'lost' in line:
      self._end(line['lost'], _SOON)
    else:  # others often come upon the same, and have words of their own
      self._end(f'{who} has ended ({line.get("end")})', _GRACE)

  def _end(self, said, grace):
    for peer in self._peers.values():
      peer.send(lost=said)
    time.sleep(grace)
    if self._left:
      return
    print(
      f'error: {said}; this process ends, too: start all again, and the run '
      f'goes on from its last checkpoint',
      file=sys.stderr,
      flush=True,
    )
    os._exit(HostError.exit_code)


_HELLO = 10.0  # seconds for a line that is on its way
_PAUSE = 0.2
_SOON = 0.05
_GRACE = 5.0
_LETTERS = 300

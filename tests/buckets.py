"""A bucket on this machine, as three libraries see it.

As a script it serves one until it is ended: `python buckets.py PORT`.
"""

import contextlib
import pathlib
import re
import socket
import subprocess
import sys
import time

NAME = 'gs://bucket'


@contextlib.contextmanager
def served(log: pathlib.Path):
  """Serves a bucket; gives the environment in which it is found.

  The program is another process, for a server in a thread of a process that
  waits in C would not answer.
  """
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  with log.open('w') as file:
    child = subprocess.Popen(
      [sys.executable, __file__, str(port)], stdout=file, stderr=file
    )
  url = f'http://localhost:{port}'
  try:
    while not _answers(port):
      assert child.poll() is None, log.read_text()
      time.sleep(0.05)
    yield {
      'STORAGE_EMULATOR_HOST': url,  # gcsfs
      'CLOUD_STORAGE_EMULATOR_ENDPOINT': url,  # array_record
      'TENSORSTORE_GCS_HTTP_URL': url,  # tensorstore
      'FSSPEC_GCS_TOKEN': 'anon',
      'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',  # would ask Google
    }
  finally:
    child.kill()
    child.wait()


def _answers(port):
  with socket.socket() as attempt:
    return attempt.connect_ex(('localhost', port)) == 0


def _mend():
  """Two things that the real one does, and C++ clients count on.

  It answers to the last bytes of an object (`bytes=-N`), and tells the
  generation of what is read.
  """
  from gcp_storage_emulator import exceptions
  from gcp_storage_emulator.handlers import objects

  plain = objects.download

  def download(request, response, storage, *args, **kwargs):
    place = [request.params[name] for name in ('bucket_name', 'object_id')]
    asked = request.get_header
    with contextlib.suppress(exceptions.NotFound):
      found = storage.get_file_obj(*place)
      response['x-goog-generation'] = found['generation']
      last = re.fullmatch(r'bytes=-(\d+)', asked('range', None) or '')
      if last:
        start = max(int(found['size']) - int(last[1]), 0)
        request.get_header = lambda name, *default: (
          f'bytes={start}-' if name == 'range' else asked(name, *default)
        )
    plain(request, response, storage, *args, **kwargs)

  objects.download = download


if __name__ == '__main__':
  _mend()
  from gcp_storage_emulator import server

  server.create_server(
    'localhost', int(sys.argv[1]), in_memory=True, default_bucket='bucket'
  ).run()

"""What programs send, against closed forms and the text of XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from framebridge_jax.training import collectives, sharding

FLOAT = 4  # bytes


@pytest.fixture(scope='module')
def mesh():
  return sharding.make_mesh(
    {'data': 2, 'fsdp': 2, 'tensor': 1, 'frames': 1}, jax.devices()[:4]
  )


def _read(mesh, fn, *args, out=None):
  """Exchanges of a program whose arguments are (shape, spec)."""
  shapes = [
    jax.ShapeDtypeStruct(
      shape, jnp.float32, sharding=jax.sharding.NamedSharding(mesh, spec)
    )
    for shape, spec in args
  ]
  places = None if out is None else jax.sharding.NamedSharding(mesh, out)
  with jax.set_mesh(mesh):
    compiled = jax.jit(fn, out_shardings=places).lower(*shapes).compile()
  return collectives.read(compiled.as_text(), dict(mesh.shape))


def test_a_gradient_over_shared_samples_is_reduced_once(mesh):
  """Of n devices each sends 2 (n - 1) / n of the gradient."""
  (found,) = _read(
    mesh,
    jax.grad(lambda w, x: jnp.sum((x @ w) ** 2)),
    ((6, 5), jax.P()),
    ((8, 6), jax.P(('data', 'fsdp'))),
    out=jax.P(),
  )
  assert (found.kind, found.axes) == ('all-reduce', 'data+fsdp')
  assert (found.devices, found.count) == (4, 1)
  assert found.size == 6 * 5 * FLOAT
  assert found.sent == 2 * 3 / 4 * found.size


def test_a_gather_along_one_axis_is_named_by_it(mesh):
  (found,) = _read(mesh, lambda x: x + 0, ((8, 6), jax.P('fsdp')), out=jax.P())
  assert found[:4] == ('all-gather', 'fsdp', 2, 1)
  assert found.size == 8 * 6 * FLOAT
  assert found.sent == found.size / 2


def test_what_a_scan_exchanges_counts_as_often_as_it_runs(mesh):
  def fn(w, x):
    def body(x, _):
      return jnp.tanh(x @ w), None

    return jax.lax.scan(body, x, None, length=5)[0]

  # Contracted over an axis that is shared: each product is a sum of parts.
  sums, once = _read(
    mesh,
    fn,
    ((6, 6), jax.P('fsdp', None)),
    ((4, 6), jax.P('data', None)),
    out=jax.P('data', None),
  )
  assert sums[:4] == ('all-reduce', 'fsdp', 2, 5)
  assert sums.size == 5 * 2 * 6 * FLOAT
  # The last sum comes in parts, which are put together outside the loop.
  assert once[:4] == ('all-gather', 'fsdp', 2, 1)


def test_a_permutation_sends_what_it_gives(mesh):
  @jax.shard_map(mesh=mesh, in_specs=jax.P('data'), out_specs=jax.P('data'))
  def turn(x):
    return jax.lax.ppermute(x, 'data', [(0, 1), (1, 0)])

  (found,) = _read(mesh, turn, ((4, 3), jax.P('data')))
  assert found[:2] == ('collective-permute', 'data')
  assert found.sent == found.size == 2 * 3 * FLOAT


def test_what_stays_on_its_device_is_no_exchange(mesh):
  assert not _read(mesh, jnp.tanh, ((8, 6), jax.P('data')))


HEAD = """HloModule jit_f, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

ENTRY %main (x: f32[4,8]) -> f32[4,8] {
  %x = f32[4,8]{1,0:T(8,128)} parameter(0)
"""
MESH = {'data': 2, 'fsdp': 4}


def _of(line):
  return collectives.read(f'{HEAD}  {line}\n}}\n', MESH)


# The forms in which XLA writes groups, on devices counted row by row.
FSDP = [
  '{{0,1,2,3},{4,5,6,7}}',
  '[2,4]<=[8]',
  "mesh['axis_0'=2,'axis_1'=4] {'axis_1'}",
  "mesh['axis_0'=4,'axis_1'=2], device_ids=([2,4]T(1,0)) {'axis_0'}",
  "mesh['axis_0'=8] {'axis_0':(2)4}",
]
DATA = [
  '{{0,4},{1,5},{2,6},{3,7}}',
  '[4,2]<=[2,4]T(1,0)',
  "mesh['axis_0'=2,'axis_1'=4] {'axis_0'}",
]


@pytest.mark.parametrize(
  ('groups', 'axes', 'n'),
  [(x, 'fsdp', 4) for x in FSDP] + [(x, 'data', 2) for x in DATA],
)
def test_groups_are_read_in_every_form(groups, axes, n):
  (found,) = _of(
    f'ROOT %r = f32[4,8]{{1,0}} all-reduce(%x), channel_id=1, '
    f'replica_groups={groups}, use_global_device_ids=true, to_apply=%add'
  )
  assert (found.axes, found.devices) == (axes, n)
  assert found.size == 4 * 8 * FLOAT


def test_all_devices_exchange_where_no_groups_stand():
  (found,) = _of('ROOT %r = f32[4,8] all-reduce(%x), to_apply=%add')
  assert (found.axes, found.devices) == ('data+fsdp', 8)


def test_groups_of_no_axis_are_called_other():
  (found,) = _of(
    'ROOT %r = f32[4,8] all-reduce(%x), '
    'replica_groups={{0,5},{1,4},{2,7},{3,6}}, to_apply=%add'
  )
  assert (found.axes, found.devices) == ('other', 2)


def test_an_exchange_that_is_begun_and_awaited_counts_once():
  """The pair of a start holds what goes in, too."""
  (found,) = _of(
    '%s = (bf16[4,2]{1,0}, bf16[4,8]{1,0}) all-gather-start(%x), '
    'replica_groups=[2,4]<=[8], dimensions={1}\n'
    '  ROOT %d = bf16[4,8]{1,0} all-gather-done(%s)'
  )
  assert found.count == 1
  assert found.size == 4 * 8 * 2
  assert found.sent == 3 / 4 * found.size


def test_a_scattered_sum_sends_the_other_parts():
  (found,) = _of(
    'ROOT %r = f32[4,2] reduce-scatter(%x), replica_groups=[2,4]<=[8], '
    'dimensions={1}, to_apply=%add'
  )
  assert found.sent == 3 * 4 * 2 * FLOAT


TPU_LOOP = """HloModule jit_f, num_partitions=8

%body.1 (p: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {{
  %one.1 = s32[]{{:T(128)}} constant({step})
  %p = (s32[]{{:T(128)}}, f32[4,8]{{1,0:T(8,128)}}) parameter(0)
  %i.1 = s32[]{{:T(128)}} get-tuple-element(%p), index=0
  %i.2 = s32[]{{:T(128)S(6)}} copy(%i.1), backend_config={{"flag_configs":[]}}
  %x.1 = f32[4,8]{{1,0:T(8,128)}} get-tuple-element(%p), index=1
  %x.2 = f32[4,8]{{1,0:T(8,128)}} all-reduce(%x.1), replica_groups=[2,4]<=[8], to_apply=%add
  %i.3 = s32[]{{:T(128)}} add(%i.2, %one.1), metadata={{op_name="jit(f)/while/body/add"}}
  ROOT %t = (s32[]{{:T(128)}}, f32[4,8]{{1,0:T(8,128)}}) tuple(%i.3, %x.2)
}}

%condition.1 (p: (s32[], f32[4,8])) -> pred[] {{
  %end.1 = s32[]{{:T(128)}} constant(26)
  %p = (s32[]{{:T(128)}}, f32[4,8]{{1,0:T(8,128)}}) parameter(0)
  %i.1 = s32[]{{:T(128)}} get-tuple-element(%p), index=0
  ROOT %lt.1 = pred[]{{:T(512)}} compare(%i.1, %end.1), direction={direction}
}}

ENTRY %main (x: f32[4,8]) -> f32[4,8] {{
  %x = f32[4,8]{{1,0:T(8,128)}} parameter(0)
  %zero = s32[]{{:T(128)}} constant({start})
  %zero.2 = s32[]{{:T(128)}} copy(%zero)
  %t.1 = (s32[]{{:T(128)}}, f32[4,8]{{1,0:T(8,128)}}) tuple(%zero.2, /*index=1*/%x)
  %w = (s32[]{{:T(128)}}, f32[4,8]{{1,0:T(8,128)}}) while(%t.1), condition=%condition.1, body=%body.1
  ROOT %r = f32[4,8]{{1,0:T(8,128)}} get-tuple-element(%w), index=1
}}
"""  # noqa: E501


@pytest.mark.parametrize(('start', 'trips'), [(0, 26), (5, 21)])
def test_a_tpu_s_loop_is_counted_from_its_own_numbers(start, trips):
  text = TPU_LOOP.format(start=start, step=1, direction='LT')
  (found,) = collectives.read(text, MESH)
  assert found[:4] == ('all-reduce', 'fsdp', 4, trips)


@pytest.mark.parametrize(('step', 'direction'), [(2, 'LT'), (1, 'NE')])
def test_other_loops_of_a_tpu_are_refused(step, direction):
  text = TPU_LOOP.format(start=0, step=step, direction=direction)
  with pytest.raises(ValueError, match='unknown length exchanges all-reduce'):
    collectives.read(text, MESH)


def test_a_loop_of_unknown_length_that_exchanges_is_refused(mesh):
  def fn(x):
    return jax.lax.while_loop(
      lambda x: jnp.sum(x) < 1.0,
      lambda x: x + jnp.mean(x, 0, keepdims=True),
      x,
    )

  with pytest.raises(ValueError, match='unknown length exchanges all-reduce'):
    _read(mesh, fn, ((4, 3), jax.P('data')))


def test_rows_that_send_most_stand_first(mesh):
  found = _read(
    mesh,
    lambda x, y: (x + 0, y + 0),
    ((2, 2), jax.P('data')),
    ((64, 8), jax.P('fsdp')),
    out=jax.P(),
  )
  assert [x.axes for x in found] == ['fsdp', 'data']
  assert np.all(np.diff([x.sent for x in found]) < 0)

import base64
import dataclasses
import html.parser

import numpy as np
import pytest

from framebridge_jax.report import html as report_html
from framebridge_jax.report import sheets

HOSTILE = '<script>alert("1")</script> & \'$title\''
VOID = {'meta', 'img', 'br', 'link', 'input'}


class Page(html.parser.HTMLParser):
  """Elements with attributes, the text, and whether tags are balanced."""

  def __init__(self, source):
    super().__init__()
    self.elements, self.open, self.text = [], [], ''
    self.feed(source)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data


@pytest.fixture
def report(tmp_path):
  for name in ('sheet.png', 'truth.png'):
    sheets.write_png(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
  (tmp_path / 'ours.mp4').write_bytes(b'clip bytes')
  return report_html.Report(
    title='Moving digits',
    summary='A small network.',
    facts={'command': 'python -m train', 'device': 'CPU'},
    settings=['seed = 3'],
    figures=[
      report_html.Figure(
        name=name,
        value='1.0',
        target='above 0',
        meaning='It is.',
        passed=passed,
      )
      for name, passed in (('good', True), ('bad', False), ('free', None))
    ],
    loss=[(0, 1.0), (10, 0.5)],
    sheet=tmp_path / 'sheet.png',
    examples=[
      report_html.Example(
        label='digit 3',
        ours=tmp_path / 'ours.mp4',
        truth=tmp_path / 'truth.png',
      )
    ],
    notes=['The future is uncertain.'],
  )


def test_page_is_well_formed_and_fetches_nothing(report):
  source = report_html.render(report)
  page = Page(source)
  assert not page.open
  assert 'http://' not in source
  assert 'https://' not in source
  assert 'url(' not in source
  for tag, attributes in page.elements:
    assert tag not in ('script', 'link', 'iframe')
    assert 'href' not in attributes
    assert attributes.get('src', 'data:').startswith('data:')


def test_files_travel_inside_the_page(report):
  page = Page(report_html.render(report))
  sources = [
    (tag, attributes['src'])
    for tag, attributes in page.elements
    if 'src' in attributes
  ]
  assert [tag for tag, _ in sources] == ['video', 'img', 'img']
  files = (report.examples[0].ours, report.examples[0].truth, report.sheet)
  kinds = ('video/mp4', 'image/png', 'image/png')
  for (_, source), file, kind in zip(sources, files, kinds, strict=True):
    head, data = source.split(',')
    assert head == f'data:{kind};base64'
    assert base64.b64decode(data) == file.read_bytes()


def test_pictures_are_described(report):
  page = Page(report_html.render(report))
  for tag, attributes in page.elements:
    if tag == 'img':
      assert attributes['alt']
    if tag in ('video', 'svg'):
      assert attributes['aria-label']


def test_results_are_words_in_the_row_of_their_figure(report):
  rows = report_html.render(report).split('<tr>')
  results = {'good': '>passes<', 'bad': '>fails<', 'free': '>no target<'}
  for name, result in results.items():
    (row,) = [row for row in rows if f'>{name}</th>' in row]
    assert result in row


@pytest.mark.parametrize(
  'hostile',
  [
    {'title': HOSTILE},
    {'summary': HOSTILE},
    {'facts': {HOSTILE: HOSTILE}},
    {'settings': [HOSTILE]},
    {'notes': [HOSTILE]},
  ],
)
def test_text_is_shown_as_it_is(report, hostile):
  _assert_shown(dataclasses.replace(report, **hostile))


@pytest.mark.parametrize('field', ['name', 'value', 'target', 'meaning'])
def test_text_of_figures_is_shown_as_it_is(report, field):
  figure = dataclasses.replace(report.figures[0], **{field: HOSTILE})
  _assert_shown(dataclasses.replace(report, figures=[figure]))


def test_labels_of_examples_are_shown_as_they_are(report):
  example = dataclasses.replace(report.examples[0], label=HOSTILE)
  page = _assert_shown(dataclasses.replace(report, examples=[example]))
  (video,) = [a for tag, a in page.elements if tag == 'video']
  assert video['aria-label'] == f'{HOSTILE}, ours'


def test_a_run_without_a_curve_says_so(report):
  source = report_html.render(dataclasses.replace(report, loss=[]))
  assert '<svg' not in source
  assert 'Too few steps' in source


def test_empty_parts_leave_no_heading(report):
  text = Page(
    report_html.render(
      dataclasses.replace(report, figures=[], examples=[], notes=[])
    )
  ).text
  assert 'Contact sheet' in text
  for heading in ('Figures', 'Samples beside the truth', 'Notes'):
    assert heading not in text


def test_a_file_that_browsers_do_not_show(report, tmp_path):
  with pytest.raises(ValueError, match=r'sheet\.tiff cannot be shown.*\.png'):
    report_html.render(
      dataclasses.replace(report, sheet=tmp_path / 'sheet.tiff')
    )


def _assert_shown(report):
  page = Page(report_html.render(report))
  assert HOSTILE in page.text
  assert 'script' not in {tag for tag, _ in page.elements}
  return page

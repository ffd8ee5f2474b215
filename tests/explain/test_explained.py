"""The map against faithfulness.py's, the sheet's pixels, and files that are left alone."""
import jax
import numpy as np
from PIL import Image
import pytest

from vit_jax import calibration
from vit_jax import predictor
from vit_jax.errors import BadInput
from vit_jax.explain import explained
from vit_jax.explain import faithfulness
from vit_jax.models import variants
from vit_jax.weights import load

SIZE = 8
NAMES = ('cat', 'dog', 'eel')

pytestmark = pytest.mark.slow


class Asked(predictor.Predictor):
  """A predictor whose training pictures are plain greys, position by position."""

  def training_pictures(self, positions):
    if self.path == 'gone':
      raise BadInput('the pictures are gone')
    return np.stack([np.full((SIZE, SIZE, 3), 10 * i, np.uint8) for i in positions]), [NAMES[i % 3] for i in positions]


def asked(path='here', name='small-digits', **sizes):
  """A predictor of random weights that remembers ten training pictures."""
  sizes = sizes or dict(hidden_size=16, mlp_dim=32, num_layers=2, patch_size=2)
  model = variants.build(name, num_classes=3, image_size=SIZE, **sizes)
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: rng.normal(0, .5, leaf.shape).astype(np.float32),
                        variants.abstract_params(model, SIZE))
  sure = calibration.Calibration(features=calibration.unit(rng.normal(size=(10, 16))).astype(np.float16),
                                 positions=np.arange(10, dtype=np.int32))
  return Asked(load.Opened(model, params, NAMES, SIZE, '', sure), path, '')


@pytest.fixture(scope='module')
def images():
  return np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)


def write(sheets, name, image):
  """Answers and explains one picture: -> (the path, the answer)."""
  found = sheets.predictor.answer(image[None])
  return sheets.write(name, image, found.probabilities[0], True, found.features[0]), found


def test_the_map_is_faithfulness_pys(images):
  one = asked()
  answer = lambda pictures: one.answer(pictures).probabilities
  p = answer(images)
  want = faithfulness.occlusion_maps(answer, images, p.argmax(axis=1), (4, 4))
  for i, image in enumerate(images):
    found = faithfulness.occlusion_map(answer, image, p[i].argmax(), p[i].max(), (4, 4))
    np.testing.assert_allclose(found, want[i], atol=1e-6)
  assert np.ptp(want) > .01


@pytest.mark.parametrize('kind', ['relevance', 'rollout'])
def test_maps_of_attention_are_the_explainers(images, kind, tmp_path):
  sheets = explained.Sheets(asked(), tmp_path, kind)
  look = sheets.seer.look(images[:1], [[2]])
  want = look.rollout[0] if kind == 'rollout' else look.relevance[0, 0]
  np.testing.assert_array_equal(sheets.map(images[0], 2, .5), want)


def test_a_sheet_shows_the_picture_and_the_nearest(images, tmp_path):
  one = asked()
  path, found = write(explained.Sheets(one, tmp_path / 'a' / 'b', 'occlusion'), 'some/cat.jpg', images[0])
  assert path == tmp_path / 'a' / 'b' / 'cat.png'
  sheet = np.asarray(Image.open(path))
  shown = np.asarray(Image.fromarray(images[0]).resize((128, 128), Image.Resampling.BICUBIC))
  np.testing.assert_array_equal(sheet[8:136, 8:136], shown)
  positions, _ = one.nearest(found.features, explained.NEAREST)
  below = 8 + 128 + 13 + 2 * 8  # The first row's height: a picture and its caption.
  middles = [sheet[below + 64, 8 + 64 + 136 * i, 0] for i in range(explained.NEAREST)]
  assert middles == [10 * i for i in positions[0]]


def test_where_the_training_pictures_are_gone_the_rest_is_there(images, tmp_path):
  sheets = explained.Sheets(asked('gone'), tmp_path, 'occlusion')
  path, _ = write(sheets, 'cat.jpg', images[0])
  assert sheets.why_not == 'the pictures are gone'
  with Image.open(path) as sheet:
    assert sheet.height < 180  # A row only.


def test_nothing_of_others_is_overwritten(images, tmp_path):
  (tmp_path / 'cat.png').write_bytes(b'mine')
  Image.fromarray(images[0]).save(tmp_path / 'dog.png')
  sheets = explained.Sheets(asked('gone'), tmp_path, 'occlusion')
  names = ['cat.jpg', 'dog.jpg', 'more/cat.jpg', 'cat.gif', '-', 'kät.jpg']
  places = ['cat-2.png', 'dog-2.png', 'cat-3.png', 'cat-4.png', 'stdin.png', 'kät.png']
  for _ in range(2):  # The second time over what was written the first.
    assert [write(sheets, name, images[1])[0].name for name in names] == places
  assert (tmp_path / 'cat.png').read_bytes() == b'mine' and len(list(tmp_path.iterdir())) == len(names) + 2
  np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'dog.png')), images[0])


def test_files_of_one_name_and_pictures_without_one_are_told_apart(images, tmp_path, monkeypatch):
  sheets = explained.Sheets(asked('gone'), tmp_path / 'out', 'occlusion')
  found = []
  for folder in ('a', 'b', 'a'):
    (tmp_path / folder).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / folder)
    found.append(write(sheets, 'cat.jpg', images[0])[0].name)
  assert found == ['cat.png', 'cat-2.png', 'cat.png']
  assert [write(sheets, '-', images[i])[0].name for i in (0, 1, 0)] == ['stdin.png', 'stdin-2.png', 'stdin.png']
  assert write(sheets, 'K\udce4tzchen.png', images[0])[0].name == 'K\udce4tzchen.png'  # No UTF-8.


def test_a_sheet_that_cannot_be_finished_leaves_the_one_before(images, tmp_path, monkeypatch):
  sheets = explained.Sheets(asked('gone'), tmp_path, 'occlusion')
  path, _ = write(sheets, 'cat.jpg', images[0])
  before = path.read_bytes()
  def stopped(image, file, *_, **__):
    with open(file, 'wb') as half:
      half.write(b'half')
    raise KeyboardInterrupt
  monkeypatch.setattr(Image.Image, 'save', stopped)
  with pytest.raises(KeyboardInterrupt):
    write(sheets, 'cat.jpg', images[0])
  assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_is_one_line(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(BadInput, match='file/in cannot be made'):
    explained.Sheets(asked(), tmp_path / 'file' / 'in', 'occlusion')


def test_a_resnet_is_explained_by_trying_and_has_no_attention(images, tmp_path):
  net = asked('gone', 'resnet-small', stage_features=(16,), stem_channels=(16,))
  write(explained.Sheets(net, tmp_path, 'occlusion'), 'cat.jpg', images[0])
  with pytest.raises(BadInput, match=r'--map=relevance is read off the attention, .*take --map=occlusion'):
    explained.Sheets(net, tmp_path, 'relevance')

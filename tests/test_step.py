"""The train step against a plain computation of the same update."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special

from vit_jax import augment
from vit_jax import step as step_lib
from vit_jax.models import variants

PLAIN = functools.partial(augment.augment, size=8, flip=False, crop_padding=0, crop_scale=1.0,
                          trivial=False, cutmix=0.0)
OPTIONS = dict(num_classes=10, augment=PLAIN, label_smoothing=0.1, ema_decay=0.9, accum_steps=1, log_every=2)
B = 8


@pytest.fixture(scope='module')
def model():
  return variants.build('small-digits', num_classes=10, image_size=8, hidden_size=16, mlp_dim=32, num_layers=1)


@pytest.fixture(scope='module')
def batches():
  rng = np.random.default_rng(0)
  return [{'image': rng.integers(0, 256, (B, 8, 8, 3), np.uint8), 'label': rng.integers(0, 10, B).astype(np.int32)}
          for _ in range(4)]


def run_steps(model, tx, batches, **options):
  """All states and metrics of a few steps, the state before them first."""
  step = jax.jit(step_lib.Step(model, tx, **{**OPTIONS, **options}).train)
  states, metrics = [step_lib.create_state(model, tx, jax.random.key(0), 8)], []
  for batch in batches:
    state, line = step(states[-1], batch, jax.random.key(1))
    states.append(state)
    metrics.append(line)
  return states, metrics


def plain_loss(model, params, batch):
  """Smoothed cross-entropy, written out: -Σ t log p with t = 0.91 for the label and 0.01 for the others."""
  logits = model.apply({'params': params}, batch['image'] / np.float32(127.5) - 1, train=False)
  targets = jnp.where(jnp.arange(10) == batch['label'][:, None], 0.91, 0.01)
  return -(targets * (logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True))).sum(-1).mean()


def assert_close(a, b, rtol=1e-4, atol=1e-6):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


def test_is_gradient_descent_with_a_running_mean(model, batches):
  states, metrics = run_steps(model, optax.sgd(0.5), batches)
  params = ema = states[0].params
  totals, hits = [], []
  for i, batch in enumerate(batches):
    logits = model.apply({'params': params}, batch['image'] / np.float32(127.5) - 1, train=False)
    hits.append(float(np.mean(logits.argmax(-1) == batch['label'])))
    loss, grads = jax.value_and_grad(lambda p, batch=batch: plain_loss(model, p, batch))(params)
    params = jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)
    decay = min(0.9, (1 + i) / (10 + i))
    ema = jax.tree.map(lambda e, p, d=decay: d * e + (1 - d) * p, ema, params)
    totals.append(float(loss))
    # Lines of metrics are means since the last multiple of log_every = 2.
    assert metrics[i]['loss'] == pytest.approx(np.mean(totals[i // 2 * 2:]), rel=1e-4)
    assert metrics[i]['accuracy'] == pytest.approx(np.mean(hits[i // 2 * 2:]))
  assert len(set(hits)) > 1
  assert_close(states[-1].params, params)
  assert_close(states[-1].ema, ema)
  assert int(states[-1].step) == 4


def test_a_teacher_takes_the_place_of_the_labels(model, batches):
  weights = np.random.default_rng(1).normal(size=(8 * 8 * 3, 10)).astype(np.float32)
  teacher = lambda images: images.reshape(B, -1) @ weights
  relabelled = [batch | {'label': (batch['label'] + 1) % 10} for batch in batches]
  options = {'teacher': teacher, 'label_smoothing': 0.0}
  states, metrics = run_steps(model, optax.sgd(0.5), batches, **options)
  others, _ = run_steps(model, optax.sgd(0.5), relabelled, **options)
  assert_close(others[-1].params, states[-1].params, rtol=0, atol=0)

  def plain(params):
    images = batches[0]['image'] / np.float32(127.5) - 1
    answers = np.asarray(teacher(images), np.float64)
    targets = np.exp(answers) / np.exp(answers).sum(-1, keepdims=True)
    logits = model.apply({'params': params}, images, train=False)
    return -(targets * jax.nn.log_softmax(logits)).sum(-1).mean()
  loss, grads = jax.value_and_grad(plain)(states[0].params)
  assert metrics[0]['loss'] == pytest.approx(float(loss), rel=1e-5)
  # It answers on the pictures as they are augmented.
  half = lambda key, images, targets: (PLAIN(key, images, targets)[0] / 2, targets)
  _, targets, _ = step_lib.Step(model, None, **OPTIONS | {'augment': half}, teacher=teacher).prepared(
      0, batches[0], jax.random.key(1))
  answers = np.asarray(teacher((batches[0]['image'] / np.float32(127.5) - 1) / 2), np.float64)
  np.testing.assert_allclose(targets, special.softmax(answers, -1), rtol=1e-4, atol=1e-6)
  assert_close(states[1].params, jax.tree.map(lambda p, g: p - 0.5 * g, states[0].params, grads))


def test_the_head_alone_learns_what_it_learns_in_company(model, batches):
  # A head of zeros hands no gradient down; after the first step it is not zero any more.
  states, metrics = run_steps(model, optax.sgd(0.5), batches[:2], head_only=True)
  _, in_company = run_steps(model, optax.sgd(0.5), batches[:1])
  assert metrics[0]['loss'] == in_company[0]['loss']
  body = lambda params: {name: leaf for name, leaf in params.items() if name != 'head'}
  assert_close(body(states[2].params), body(states[0].params), rtol=0, atol=0)
  assert_close(body(states[2].ema), body(states[0].ema), rtol=0, atol=0)
  grads = jax.grad(lambda params: plain_loss(model, params, batches[1]))(states[1].params)
  assert_close(states[2].params['head'], jax.tree.map(lambda p, g: p - 0.5 * g, states[1].params, grads)['head'])


def test_of_two_heads_both_learn_alone(batches):
  model = variants.build('small-digits', num_classes=10, image_size=8, hidden_size=16, mlp_dim=32, num_layers=1,
                         classifier='distilled', representation_size=8)
  states, _ = run_steps(model, optax.sgd(0.5), batches[:2], head_only=True)
  moved = {name for name, leaf in states[2].params.items()
           if any(jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), leaf, states[0].params[name])))}
  assert moved == {'head', 'head_dist'}


def test_the_model_trains_as_in_training(batches):
  """Half of the patches are dropped while it learns, by the key of the step."""
  model = variants.build('small-digits', num_classes=10, image_size=8, hidden_size=16, mlp_dim=32, num_layers=1,
                         patch_dropout=0.5)
  states, metrics = run_steps(model, optax.sgd(0.5), batches[:2], label_smoothing=0.0, log_every=1)
  images, _, key = step_lib.Step(model, optax.sgd(0.5), **OPTIONS).prepared(1, batches[1], jax.random.key(1))
  def loss(**options):
    logits = model.apply({'params': states[1].params}, images, **options)
    return float(optax.softmax_cross_entropy_with_integer_labels(logits, batches[1]['label']).mean())
  trained = loss(train=True, rngs={'dropout': jax.random.fold_in(key, 0)})
  assert float(metrics[1]['loss']) == pytest.approx(trained, rel=1e-4)
  assert abs(trained - loss(train=False)) > 1e-3


def test_each_part_of_a_batch_has_a_dropout_of_its_own(batches):
  model = variants.build('small-digits', num_classes=10, image_size=8, hidden_size=16, mlp_dim=32, num_layers=1,
                         patch_dropout=0.5)
  tx, key, labels = optax.sgd(1.0), jax.random.key(3), batches[0]['label']
  params = step_lib.create_state(model, tx, jax.random.key(0), 8).params | {
      'head': {'kernel': jax.random.normal(key, (16, 10)), 'bias': jnp.zeros(10)}}
  images = augment.normalize(batches[0]['image'])
  whole = step_lib.Step(model, tx, **OPTIONS | {'accum_steps': B}).gradients(
      params, key, images, jax.nn.one_hot(labels, 10), labels)
  def loss(key, i):
    logits = model.apply({'params': params}, images[i:i + 1], train=True, rngs={'dropout': key})
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels[i:i + 1])[0]
  parts = [float(loss(jax.random.fold_in(key, i), i)) for i in range(B)]
  assert float(whole['loss']) == pytest.approx(np.mean(parts), rel=1e-4)
  assert abs(np.mean(parts) - np.mean([float(loss(jax.random.fold_in(key, 0), i)) for i in range(B)])) > 1e-3


def test_first_loss_is_ln_k(model, batches):
  _, metrics = run_steps(model, optax.sgd(0.5), batches[:1])
  assert metrics[0]['loss'] == pytest.approx(np.log(10), rel=1e-6)


def test_without_averaging_ema_is_the_weights(model, batches):
  states, _ = run_steps(model, optax.sgd(0.5), batches, ema_decay=0.0)
  assert_close(states[-1].ema, states[-1].params, rtol=0, atol=0)


def test_accumulation_is_the_whole_batch(model, batches):
  whole, whole_metrics = run_steps(model, optax.sgd(0.5), batches)
  parts, parts_metrics = run_steps(model, optax.sgd(0.5), batches, accum_steps=4)
  assert_close(parts[-1].params, whole[-1].params)
  assert_close(parts_metrics, whole_metrics)


def test_randomness_is_a_function_of_key_and_step(model, batches):
  tx = optax.sgd(0.5)
  strong = functools.partial(PLAIN, flip=True, crop_padding=2, cutmix=0.5)
  step = jax.jit(step_lib.Step(model, tx, **OPTIONS | {'augment': strong}).train)
  states, _ = run_steps(model, tx, batches, augment=strong)
  # From the middle on, with nothing but the state: the same end to the last bit.
  state = states[2]
  for batch in batches[2:]:
    state, _ = step(state, batch, jax.random.key(1))
  assert_close(state.params, states[-1].params, rtol=0, atol=0)
  other, _ = step(states[2], batches[2], jax.random.key(2))
  assert not np.array_equal(other.params['head']['kernel'], states[3].params['head']['kernel'])
  # The same batch is another one in another step, and meets another dropout.
  one = step_lib.Step(model, tx, **OPTIONS | {'augment': strong})
  (a, _, dropout), (b, _, other_dropout) = (one.prepared(i, batches[0], jax.random.key(1)) for i in (0, 1))
  assert not np.array_equal(a, b)
  assert not np.array_equal(jax.random.key_data(dropout), jax.random.key_data(other_dropout))


def test_first_bad_step_is_remembered(model, batches):
  tx = optax.chain(optax.sgd(0.5), optax.stateless(
      lambda updates, _: jax.tree.map(lambda u: u * jnp.inf, updates)))
  states, metrics = run_steps(model, tx, batches)  # The first update is infinite, so the second loss is NaN.
  assert [int(line['bad_step']) for line in metrics] == [0, 2, 2, 2]
  assert int(states[-1].bad_step) == 2


def test_a_bad_step_that_is_skipped_changes_no_weights(model, batches):
  """The second batch's labels have a loss beyond the bound, as the first weights are large; the others train on."""
  spike = lambda key, images, targets: PLAIN(key, images, jnp.where(images.max() == 0, 1e6, 1.0) * targets)
  dark = [batches[0], batches[1] | {'image': np.zeros_like(batches[1]['image'])}, *batches[2:]]
  options = dict(augment=spike, max_loss_ratio=10.0, log_every=1)
  states, metrics = run_steps(model, optax.adamw(0.01), dark, skip_bad=True, **options)
  assert [int(line['bad_step']) for line in metrics] == [0, 2, 2, 2]
  assert float(metrics[2]['bad_loss']) > 1e5
  assert_close((states[2].params, states[2].ema, states[2].opt_state),
               (states[1].params, states[1].ema, states[1].opt_state), rtol=0, atol=0)
  assert int(states[2].step) == 2
  assert not np.array_equal(states[3].params['head']['kernel'], states[2].params['head']['kernel'])
  usual = [float(line['usual_loss']) for line in metrics]
  assert usual[1] == usual[0] and usual[0] == pytest.approx(float(metrics[0]['loss']))
  _, stopping = run_steps(model, optax.adamw(0.01), dark, **options)
  assert [int(line['bad_step']) for line in stopping] == [0, 2, 2, 2]
  assert len({float(line['usual_loss']) for line in stopping}) == 1  # What was usual before the bad step.


def test_of_skipped_steps_the_newest_is_named_and_otherwise_the_first(model, batches):
  nan = lambda key, images, targets: PLAIN(key, images, jnp.where(images.max() == 0, jnp.nan, 1.0) * targets)
  dark = [batch | {'image': np.zeros_like(batch['image'])} if i % 2 else batch for i, batch in enumerate(batches)]
  named = lambda **options: [int(line['bad_step']) for line in run_steps(
      model, optax.adamw(0.01), dark, augment=nan, **options)[1]]
  assert named(skip_bad=True) == [0, 2, 2, 4]
  assert named() == [0, 2, 2, 2]


def test_the_usual_loss_is_a_running_mean(model, batches):
  _, metrics = run_steps(model, optax.adamw(0.01), batches, max_loss_ratio=10.0, log_every=1)
  usual = float(metrics[0]['loss'])
  for i, line in enumerate(metrics[1:], start=1):
    decay = min(0.99, (1 + i) / (10 + i))
    usual = decay * usual + (1 - decay) * float(line['loss'])
    assert float(line['usual_loss']) == pytest.approx(usual, rel=1e-5)


def test_not_a_number_is_skipped_too(model, batches):
  nan = lambda key, images, targets: PLAIN(key, images, jnp.where(images.max() == 0, jnp.nan, 1.0) * targets)
  dark = [batches[0], batches[1] | {'image': np.zeros_like(batches[1]['image'])}, batches[2]]
  states, metrics = run_steps(model, optax.adamw(0.01), dark, skip_bad=True, augment=nan)
  assert [int(line['bad_step']) for line in metrics] == [0, 2, 2] and np.isnan(metrics[1]['bad_loss'])
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states[-1].params))
  # It counts as what was usual in the same line of metrics, and where it is the first of a line, in the one before.
  for name in ('loss', 'grad_norm'):
    assert metrics[1][name] == pytest.approx(float(metrics[0][name]))
  dark[1], dark[2] = dark[2], dark[1]
  _, metrics = run_steps(model, optax.adamw(0.01), dark, skip_bad=True, augment=nan)
  assert metrics[2]['loss'] == pytest.approx(float(metrics[1]['loss']))


@pytest.mark.parametrize('classifier', ['token', 'distilled'])
def test_what_a_step_would_do_is_what_it_does(classifier, batches):
  model = variants.build('small-digits', num_classes=10, image_size=8, hidden_size=16, mlp_dim=32, num_layers=1,
                         classifier=classifier)
  strong = functools.partial(PLAIN, flip=True, crop_padding=2, cutmix=0.5)
  options = OPTIONS | dict(augment=strong, log_every=1)
  states, metrics = run_steps(model, optax.sgd(0.5), batches, augment=strong, log_every=1)
  look = jax.jit(step_lib.Step(model, optax.sgd(0.5), **options).look)(states[2], batches[2], jax.random.key(1))
  assert look['loss'].shape == look['probability'].shape == (B,)
  assert float(look['loss'].mean()) == pytest.approx(float(metrics[2]['loss']), rel=1e-5)
  # Picture by picture: the loss is that of the picture's own targets, and the probability that of its own label.
  images, targets, key = step_lib.Step(model, optax.sgd(0.5), **options).prepared(2, batches[2], jax.random.key(1))
  logits = np.asarray(model.apply({'params': states[2].params}, images, train=True, rngs={'dropout': key}), np.float64)
  np.testing.assert_allclose(look['loss'], -(targets * special.log_softmax(logits, -1)).sum(-1).reshape(-1, B).mean(0),
                             rtol=1e-4)
  np.testing.assert_allclose(look['probability'], special.softmax(logits, -1).reshape(-1, B, 10).mean(0)[
      np.arange(B), batches[2]['label']], rtol=1e-4)
  norms = jnp.stack(jax.tree.leaves(look['grad_norms']))
  assert float(jnp.linalg.norm(norms)) == pytest.approx(float(metrics[2]['grad_norm']), rel=1e-5)

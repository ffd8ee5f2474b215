"""What a run measured -> charts of a report, see charts.py."""
from vit_jax.reporting import charts


def column(lines, name, x='epoch', scale=1.0):
  """One of the metrics over the lines that have it: -> (x values, y values)."""
  there = [line for line in lines if name in line and x in line]
  return [line[x] * scale for line in there], [line[name] for line in there]


def learning_curves(lines):
  """The lines of metrics.jsonl -> charts of accuracy and of loss over the epochs."""
  named = lambda name, key, points=False: charts.Series(name, *column(lines, key), points=points)
  accuracy = charts.chart('Accuracy', [named('validation', 'val_accuracy', True),
                                       named('training pictures, as augmented', 'accuracy')],
                          x='epoch', y='share of right answers', percent=True)
  loss = charts.chart('Loss', [named('validation', 'val_loss', True),
                               named('training pictures, as augmented', 'loss')],
                      x='epoch', y='cross-entropy in nats; in training against labels as smoothed and mixed')
  return [chart for chart in (accuracy, loss) if chart]


def reliability(evaluation):
  """What was right beside how sure it was, before and after the temperature."""
  def series(name, test):
    bins = test['calibration_bins']
    return charts.Series(name, [row['confidence'] for row in bins], [row['accuracy'] for row in bins], line=False,
                         points=True, sizes=[row['count'] for row in bins])
  found = [series('as trained', evaluation['test'])]
  if evaluation['temperature'] != 1:
    found.append(series(f'at temperature {evaluation["temperature"]:.2f}', evaluation['calibrated']))
  shares = {value / 5: f'{20 * value} %' for value in range(6)}
  return charts.chart('Reliability: how often it is right, by how sure it is', found, x='probability of its answer',
                      y='share of right answers; on the diagonal it is as often right as it says. The area of a point '
                      'is its number of pictures', percent=True, x_range=(0, 1), y_range=(0, 1), x_names=shares,
                      diagonal=True)


def corruptions(evaluation):
  """Accuracy over three strengths of each corruption, clean pictures first; None where that was not measured."""
  kinds = evaluation.get('corruptions')
  if not kinds:
    return None
  clean = evaluation.get('uncorrupted', evaluation['test']['accuracy'])
  found = [charts.Series(kind, list(range(len(values) + 1)), [clean, *values], points=True)
           for kind, values in kinds.items()]
  names = {0: 'clean', 1: 'weak', 2: 'middle', 3: 'strong'}
  return charts.chart('Worse pictures', found, x='strength', y='share of right answers', percent=True,
                      x_range=(-.2, 3.2), y_range=(0, 1), x_names=names)


def distances(values, even):
  """How far each head looks, pixels f[L,H], as a point for each head."""
  layers = list(range(1, len(values) + 1))
  heads = charts.Series('a head', [layer for layer in layers for _ in values[layer - 1]],
                        [float(value) for row in values for value in row], line=False, points=True)
  everywhere = charts.Series('even attention', [.5, len(layers) + .5], [even, even])
  step = -(-len(layers) // 12)
  return charts.chart('How far each head looks', [heads, everywhere], x='layer', y='mean attention distance, pixels',
                      x_range=(.5, len(layers) + .5), x_names={layer: str(layer) for layer in layers[::step]})


def race(rows):
  """Validation accuracy of what page.compared gives over the minutes of training; None where none was measured."""
  series = [charts.Series(row['name'], *column(row['run'].lines, 'val_accuracy', 'seconds', 1 / 60), points=True)
            for row in rows]
  return charts.chart('Validation accuracy', series, x='minutes of training', y='share of right answers', percent=True)

"""What a recipe leaves open follows from the number of training pictures."""
from vit_jax import config as config_lib
from vit_jax.errors import BadInput

# From so many training pictures on: the model, pictures a step, steps, and how often batches are mixed. More pictures
# carry a larger model; few of them need many epochs, and mixing so that they are not learned by heart.
_BY_COUNT = [
    (0, {'model.variant': 'small-conv_8', 'batch_size': 32, 'steps': 2_000, 'augment.cutmix': 0.5}),
    (1_000, {'model.variant': 'small-conv_8', 'batch_size': 64, 'steps': 4_000, 'augment.cutmix': 0.25}),
    (20_000, {'model.variant': 'medium-conv_8', 'batch_size': 128, 'steps': 6_000, 'augment.cutmix': 0.0}),
]
# A number of pictures of each row.
_COUNTS = tuple(start or 1 for start, _ in _BY_COUNT)
# Parts of all epochs that the warm-up and the time between two validations take.
_WARMUP, _EVAL = 1 / 20, 1 / 10


def from_weights(config, description):
  """Gives data.image_size, where it is None, the size of the pictures that weights were trained on: -> locked config.

  `description` is that of the model with these weights, or None where the config starts from none.
  Raises BadInput where it is needed and not there.
  """
  if not description and config.data.image_size is None:
    raise BadInput(f'init={config.init!r} does not say for which pictures it is; give --config.data.image_size'
                   if config.init else
                   'this recipe starts from weights; name a file or a run folder with --config.init=…')
  filled = config.copy_and_resolve_references()
  if description and config.data.image_size is None:
    filled.data.image_size = description['preprocessing']['image_size']
  return filled.lock()


def fill(config, count, before=None):
  """Gives the keys that are None a value for `count` training pictures: -> (locked config, {key: chosen value}).

  `before`, {key: value}, is what was chosen when the run began; it stays, whatever would be chosen today.
  The model of a recipe that starts from weights is theirs: its variant stays None. Raises BadInput for another key that
  is None and has no default here.
  """
  row = dict([values for start, values in _BY_COUNT if start <= count][-1])
  given = config_lib.flatten(config)
  batch_size = given['batch_size'] or row['batch_size']
  # Two digits are enough, and read well.
  round_off = lambda number: float(f'{number:.2g}')
  epochs = given['epochs'] or round_off(row.pop('steps') * batch_size / count)
  row |= {'epochs': epochs, 'optim.warmup_epochs': round_off(epochs * _WARMUP),
          'eval_epochs': round_off(epochs * _EVAL)} | (before or {})
  # A cell of the table of variants that is None is as the table has it.
  missing = [key for key, value in given.items() if value is None and not key.startswith('model.')]
  missing += ['model.variant'] if given['model.variant'] is None and not config.init else []
  if unknown := [key for key in missing if key not in row]:
    raise BadInput(f'{unknown[0]} has no value; give it one with --config.{unknown[0]}=…')
  chosen = {key: row[key] for key in row if key in missing}
  filled = config.copy_and_resolve_references()
  filled.update_from_flattened_dict(chosen)
  return filled.lock(), chosen


def check_early(config, check):
  """Calls `check` on a config before the data are there, which may take longer to find fault with.

  What a recipe leaves open follows from the number of pictures; it may be any for which `check` raises no BadInput.
  """
  refusal = None
  for count in _COUNTS:
    try:
      return check(fill(config, count)[0])
    except BadInput as error:
      refusal = error
  raise refusal

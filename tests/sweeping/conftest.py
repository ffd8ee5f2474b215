"""What tests of sweeps share: a study on disk, and trials that went one way or another."""
import pytest


@pytest.fixture(scope='session')
def config():
  """The config that is swept."""
  from configs import digits
  return digits.get_config()


@pytest.fixture
def open_study(tmp_path, config):
  """A function that opens the sweep 's' of a storage, SQLite by default, as a process that starts does."""
  pytest.importorskip('optuna', reason='sweeps need optuna')
  from vit_jax.sweeping import study

  def open_study(url=None, flags=None, pruner='none', config=config):
    return study.open_study(url or f'sqlite:///{tmp_path / "sweep.db"}', 's', flags or {'--search': 'grid'}, config,
                            pruner)
  return open_study


@pytest.fixture
def finish():
  """A function that ends a trial of an optuna.Study: with an accuracy for each seed, an error, or stopped early."""
  from vit_jax.sweeping import study as study_lib

  def finish(study, trial, accuracies=(), error=None):
    place = trial.user_attrs['place']
    runs = [{'seed': seed, 'val_accuracy': value, 'val_loss': .5, 'seconds': 60., 'folder': f'f/{place}-{seed}'}
            for seed, value in enumerate(accuracies)]
    if error:
      study_lib.finish(study, trial, study_lib.State.FAIL, runs, error=error)
    elif not accuracies:
      study_lib.finish(study, trial, study_lib.State.PRUNED, runs)
    else:
      study_lib.finish(study, trial, study_lib.State.COMPLETE, runs, sum(accuracies) / len(accuracies))
  return finish

"""What is measured: a piece of work, who does it and how, at which sizes. Light, as every process imports it."""
import dataclasses
import math

from vit_jax.errors import BadInput

# Pixels a side of a patch, and classes, of the models that are made up for measuring.
PATCH, CLASSES = 4, 10


@dataclasses.dataclass(frozen=True)
class Setting:
  """One way to do one piece of work, with a recipe's model or a made-up one.

  That is a ViT behind linear patches, with learned positions, MLPs of four times its width, and the mean over all
  tokens: nothing in it that another framework would not have as well.
  """
  work: str  # 'train', 'predict', 'product' (of two large matrices), or 'compile' (a train step that is not run)
  dtype: str = 'float32'
  framework: str = 'vit_jax'  # or 'torch', 'timm'
  way: str = ''  # of several that a framework has; see OURS and PEERS in speed.py
  keep_pages: bool = True  # see cpu.keep_pages
  batch_size: int = 64
  tokens: int = 64
  width: int = 192
  depth: int = 6
  recipe: str = ''  # a config as JSON: its model, data and batches, and the sizes above do not count
  cache_dir: str = ''
  devices: int = 0  # so many are faked on the processor; 0 takes those that there are

  @property
  def name(self):
    """Who, how and in which type, for a person."""
    if self.work == 'product':
      return f'matrix product, {self.dtype}'
    kept = ', pages kept' if self.keep_pages and self.framework != 'vit_jax' else ''
    return f'{self.framework} {self.way}, {self.dtype}{kept}'

  @property
  def sizes(self):
    """The sizes of the model, for a person."""
    return f'width {self.width}, {self.tokens} tokens, {self.depth} blocks, batches of {self.batch_size}'

  @property
  def image_size(self):
    """Pixels a side."""
    return PATCH * math.isqrt(self.tokens)

  @property
  def num_heads(self):
    """Heads of about 64 features, as the published models have."""
    return max(heads for heads in range(1, max(self.width // 64, 1) + 1) if self.width % heads == 0)

  def theory(self):
    """What the blocks of a train step cost by the formula of the textbooks, in FLOP.

    A block takes 12·n·d² + 2·n²·d multiply-adds for n tokens of width d (Kaplan et al. 2020, with MLPs of 4·d), two
    FLOP each, and training three times as much as a forward pass.
    """
    n, d = self.tokens, self.width
    return 3 * 2 * self.batch_size * self.depth * (12 * n * d**2 + 2 * n**2 * d)


def check_tokens(tokens):
  """Raises BadInput where the tokens are no square grid, naming the nearest number that is."""
  if math.isqrt(tokens) ** 2 != tokens:
    raise BadInput(f'--tokens={tokens} is no square, as those of square pictures are; try {round(tokens**.5)**2}')

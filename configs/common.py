"""Every config key, explained. A recipe starts from `get_config()` and changes what it needs.

A recipe is locked: a key that is not listed here is refused, on the command line too. Any key can be given
there (`--config.optim.lr=1e-3`); tuples as `--config.data.classes="('cat','dog')"`.
"""
import ml_collections
from ml_collections import config_dict


def get_config():
  """The defaults: a small AdamW recipe that recipes adapt."""
  config = ml_collections.ConfigDict()

  # Everything random follows from this number: first weights, order of the pictures, augmentation.
  config.seed = 0

  config.data = data = ml_collections.ConfigDict()
  # 'digits' (embedded), 'tiny_imagenet', any image set of TensorFlow Datasets by its name there, or 'folder'.
  data.name = 'digits'
  # The folder of pictures where the name is 'folder': in it a folder for each class, or train/, val/ and test/
  # with a folder for each class in them.
  data.path = ''
  # Where TFDS keeps its sets; '' is TFDS's own default, ~/tensorflow_datasets.
  data.dir = ''
  # Keep only these classes, by name, and number them in this order; () keeps all.
  data.classes = ()
  # Pixels a side. Pictures of another size are cut to their middle square and resized when first read. None takes the
  # size that the weights in `init` were trained on.
  data.image_size = 8
  # Share of the training pictures that is held out for validation, by a fixed rule, where the set has no validation
  # part of its own; 0 holds out none.
  data.val_fraction = 0.1
  # Leave out of train what is nearly the same as a test picture of these sets, the set itself or others, by name.
  data.clear_of = ()

  config.model = model = ml_collections.ConfigDict()
  # A row of the table in vit_jax/models/variants.py. The keys below replace cells of that row; None leaves them. Where
  # the variant itself is None, the model is that of the weights in `init`.
  model.variant = 'small-digits'
  # What stands before the encoder: 'linear' patches, 'conv' stem, or the paper's 'resnet'.
  model.stem = config_dict.placeholder(str)
  # Channels of the conv stem's 3×3 convolutions; each halves the picture's sides.
  model.stem_channels = config_dict.placeholder(tuple)
  # P, pixels a side of a patch; behind a stem: cells of its feature map.
  model.patch_size = config_dict.placeholder(int)
  # D, features of a token.
  model.hidden_size = config_dict.placeholder(int)
  # L, blocks.
  model.num_layers = config_dict.placeholder(int)
  # k, attention heads of a block; must divide hidden_size.
  model.num_heads = config_dict.placeholder(int)
  # Hidden features of a block's MLP.
  model.mlp_dim = config_dict.placeholder(int)
  # What the head reads: the 'token' of the paper, 'gap', the mean over all patches, or 'distilled', DeiT's two tokens
  # with a head each; others are in vit_jax/models/vit.py.
  model.classifier = config_dict.placeholder(str)
  # 'learned' positions, or fixed 2-D sine-cosine ones: 'sincos2d'.
  model.posemb = config_dict.placeholder(str)
  # Besides, a 3×3 depthwise convolution over the grid of tokens before each block (Chu et al. 2021).
  model.conv_positions = config_dict.placeholder(bool)
  # Share of the tokens that are dropped in training, at random, once they have their positions (Liu et al. 2022).
  # With it, convolutional positions are added before the first block only.
  model.patch_dropout = config_dict.placeholder(float)
  # Features of the pre_logits layer; 0 leaves the layer out.
  model.representation_size = config_dict.placeholder(int)
  # Dropout in the MLPs, after attention and after the positions.
  model.dropout_rate = config_dict.placeholder(float)
  # Dropout on the attention weights.
  model.attention_dropout_rate = config_dict.placeholder(float)
  # Probability that the last block's layers are left out for a picture (stochastic depth); it falls to 0 in the first.
  model.drop_path_rate = config_dict.placeholder(float)

  # Weights to start from: a run folder, a .safetensors file of vit_jax.export, of timm or of Hugging Face, a published
  # .npz, hf://owner/name, or the name of shipped ones; '' starts anew. The head starts anew anyway where the classes
  # are others in number.
  config.init = ''

  # Weights that teach, named as in `init`: they answer the same augmented pictures, and the model learns their answers
  # instead of the labels; '' learns the labels.
  config.teacher = ''

  # Type of the activations: 'float32', 'bfloat16', or 'auto': the faster one on this machine. Parameters are
  # always float32.
  config.dtype = 'auto'

  # Pictures a step, over all devices together.
  config.batch_size = 128
  # How often the training pictures are gone through; 0.5 takes half of them.
  config.epochs = 40.0
  # Splits parameters and optimizer state over the devices, where otherwise each holds all: for models that no device
  # could train alone.
  config.fsdp = False
  # Cuts each batch into so many parts, one after the other: the same gradient in less memory.
  config.accum_steps = 1
  # Pictures a step in evaluation; changes speed only.
  config.eval_batch_size = 500

  config.optim = optim = ml_collections.ConfigDict()
  # 'adamw', 'muon': Muon for the matrices of the blocks and AdamW for the rest, or the paper's 'sgd' for fine-tuning.
  optim.name = 'adamw'
  # The highest learning rate of AdamW, or of SGD: linear warm-up to it, then a cosine down to 0.
  optim.lr = 1e-3
  # Muon's highest learning rate, on the same schedule.
  optim.muon_lr = 0.02
  # Length of the warm-up, in epochs.
  optim.warmup_epochs = 2.0
  # Each block learns at this share of the next one's rate, the last one at this share of the head's: 1 for one rate, 0
  # for a head that learns alone.
  optim.layer_decay = 1.0
  # Decay of the kernels, times the learning rate; biases, norms, positions and class token have none.
  optim.weight_decay = 0.05
  # Bound on the global norm of the gradient; 0 leaves it unbounded.
  optim.grad_clip = 1.0

  # A step whose loss or gradient is not finite is bad, and one whose loss is more than so many times its running mean;
  # 0 lets any finite loss pass.
  config.max_loss_ratio = 0.0
  # After a bad step, 'stop', the last checkpoint being good, or 'skip': go on as if it had not been.
  config.on_bad_step = 'stop'

  # Share of a label's weight that is spread over all classes.
  config.label_smoothing = 0.1
  # Evaluation uses a running mean of the weights, with this decay a step; 0 uses the weights themselves.
  config.ema_decay = 0.99

  config.augment = augment = ml_collections.ConfigDict()
  # Mirror half of the pictures left to right; evaluation then also reports the mean over both views.
  augment.flip = False
  # TrivialAugment: change each picture in one random way, by a turn, a shear, another contrast, …
  augment.trivial = False
  # Move pictures by up to so many pixels, borders reflected.
  augment.crop_padding = 1
  # Cut out a box of at least this share of the picture's area and resize it; 1 takes the whole picture.
  augment.crop_scale = 1.0
  # Pixels a side in training, one after the other for equal parts of the steps, as (32, 48, 64): small pictures are
  # cheap, and evaluation sees whole ones anyway. () trains on pictures of data.image_size throughout.
  augment.sizes = ()
  # Probability that a batch is mixed by CutMix: each picture gets a box of another one, and a share of its label.
  augment.cutmix = 0.0
  # Probability that a batch is blended by mixup: each picture and its label with another's, by the same share.
  augment.mixup = 0.0
  # Probability that a picture gets a grey box of 2 to 33 % of its area: random erasing.
  augment.erasing = 0.0

  # Steps between two lines of metrics.
  config.log_every = 50
  # Epochs between two validations; each also saves a checkpoint.
  config.eval_epochs = 5.0
  # How many of the newest checkpoints are kept, two at least; the best on validation is kept besides.
  config.keep = 2

  return config.lock()

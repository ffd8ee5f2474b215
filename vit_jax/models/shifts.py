"""A grid seen through each cell of a small kernel: what convolutions become where they are written as products."""
import jax


def shifts(padded: jax.Array, kernel_size: int, stride: int = 1) -> list[jax.Array]:
  """The k·k views of a padded grid, row by row of the kernel, each what one of its cells meets: [B,H,W,C] -> [B,h,w,C].

  h = ⌊(H - k) / stride⌋ + 1, and w likewise.
  """
  h, w = (size - kernel_size + 1 for size in padded.shape[1:3])
  return [padded[:, y:y + h:stride, x:x + w:stride] for y in range(kernel_size) for x in range(kernel_size)]

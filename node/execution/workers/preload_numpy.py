"""What the fork server of the drawing worker and the judge does before it forks: import numpy, and not torch.

Also what numpy loads of itself on first use.
"""

import numpy as np

from node.execution.workers import arrays, exchange, replays  # noqa: F401  (for forks, which read no file of ours)


def main() -> None:
    np.random.default_rng(0).permutation(4)
    np.linalg.norm(np.exp(np.ones((4, 4))) @ np.ones(4))


if __name__ == "__main__":
    main()

"""Where ideas come from: proposers, and the strategy that chooses between them."""

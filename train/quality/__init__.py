"""What tells the quality of training crops: their Q, and the utility, with what teaches it."""

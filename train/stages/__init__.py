"""The three stages, in the order they train: image quality, attributes, and both branches with their fusion."""

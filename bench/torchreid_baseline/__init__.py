"""What torchreid's own training makes of a dataset of ours."""

"""The torch-free core that trainer, server and client share."""

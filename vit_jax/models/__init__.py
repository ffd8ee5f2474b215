"""The models: everything between a picture and its logits."""

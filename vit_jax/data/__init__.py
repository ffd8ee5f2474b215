"""From disk to host batches: everything before the device."""

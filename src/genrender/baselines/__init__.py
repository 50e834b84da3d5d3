"""Methods that others published, on the same model, G-buffers, noise and seeds, to compare ours with."""

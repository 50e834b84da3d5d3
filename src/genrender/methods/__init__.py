"""Methods that others published, on the same model, G-buffers, sampler and seeds, to compare ours with."""

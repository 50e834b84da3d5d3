"""Our method, its parts, and published methods to compare it with, all on one model, sampler and seed."""

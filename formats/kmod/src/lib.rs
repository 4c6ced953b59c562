//! Kernel modules: modinfo, dependencies, aliases, modalias matching.

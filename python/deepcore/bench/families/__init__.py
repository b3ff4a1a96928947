"""One module per family of kernels, each with its list `CASES`."""

ORDER = (
    "gemm", "linear", "conv", "pool", "norm", "loss", "dropout", "elementwise", "reduce", "overhead", "gibbs", "rbm",
    "rnn", "rnn_around", "training",
)  # fmt: skip

"""One numeric thread in every test process: more are slower on a loaded machine, and round differently."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

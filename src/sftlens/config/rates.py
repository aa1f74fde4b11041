"""The rates behind the time of a job, each with its source; no job is given any, so editing one reruns nothing."""

from pydantic import Field

from sftlens.settings import Settings


class GpuRates(Settings):
    """What one GPU does in a second; nothing of it was measured here, so put in what yours does."""

    operations: float = Field(1e14, gt=0)
    """Floating-point operations a second. Assumption: a third of an A100's 312e12 in bf16 (data sheet)."""
    memory: float = Field(1e12, gt=0)
    """Bytes a second of weights that generation reads. Assumption: half of an A100 80 GB's 2.0e12 (data sheet)."""
    layer_seconds: float = Field(5e-4, ge=0)
    """Seconds that a layer's forward pass takes besides. Assumption: fifty kernels of 10 microseconds to launch."""
    exchange: float = Field(1e11, gt=0)
    """Bytes a second between the GPUs of a node. Assumption: a third of NVLink 3's 300e9 each way (data sheet)."""
    exchange_nodes: float = Field(5e10, gt=0)
    """Bytes a second of a node's network. Assumption: two InfiniBand cards of 200 Gb/s (data sheet of HDR)."""
    start_seconds: float = Field(40.0, ge=0)
    """Seconds until a job computes. Assumption: imports from a shared file system, CUDA, NCCL, DeepSpeed."""


class CpuRates(Settings):
    """What one process on a CPU does in a second; what is measured, was on two cores of an AMD EPYC, on tiny models."""

    operations: float = Field(4e10, gt=0)
    """Floating-point operations a second. Measured: the demo's pretraining (benchmarks/planned.py)."""
    memory: float = Field(5e9, gt=0)
    """Bytes a second of weights that generation reads. Assumption."""
    layer_seconds: float = Field(5e-4, ge=0)
    """Seconds that a layer's forward pass takes besides. Assumption."""
    exchange: float = Field(5e8, gt=0)
    """Bytes a second between the processes of a node (gloo). Assumption."""
    exchange_nodes: float = Field(1e8, gt=0)
    """Bytes a second of a node's network. Assumption: Ethernet of 1 Gb/s."""
    start_seconds: float = Field(2.5, ge=0)
    """Seconds until a job computes. Measured: benchmarks/start_up.py, 1 to 3 CPU seconds."""


class PlanSettings(Settings):
    """Rates behind the time that a job is expected to take: a cluster is asked for four times as long."""

    gpu: GpuRates = GpuRates()
    """Of one GPU."""
    cpu: CpuRates = CpuRates()
    """Of one process on a CPU."""
    read: float = Field(2e9, gt=0)
    """Bytes a second that a node reads from the file system. Assumption."""
    write: float = Field(1e9, gt=0)
    """Bytes a second that a node writes to the file system. Assumption."""
    download: float = Field(1e8, gt=0)
    """Bytes a second of a download from the hub. Assumption."""
    sample_tokens: float = Field(32, gt=0)
    """Tokens of a training sample, padding included. Measured: 76 characters on average in EntityQuestions' train
    split with the prompt's markers; assumed: 2.4 characters a token, since the markers fall into many."""
    sentence_tokens: float = Field(14, gt=0)
    """Tokens of a sentence to be completed. Measured: 50 characters on average; assumed: 3.6 a token."""
    answer_tokens: float = Field(8, gt=0)
    """Tokens of an answer, its end included. Assumption: between the 4 of the answer and the limit of 16."""
    shared_prefixes: float = Field(6, ge=1)
    """How many times fewer tokens sampling computes because samples share their beginnings. Assumption; on the demo
    benchmarks/probing.py measures 9 times fewer tokens in all."""
    adaptive_share: float = Field(0.65, gt=0, le=1)
    """Work of a fact with `probing.method: adaptive`, of that of the fixed protocol, calibration left out. Measured on
    SmolLM2-135M: the samples drawn (docs/mastery.md); a model that knows more takes fewer."""
    delta_share: float = Field(0.34, gt=0, le=1)
    """Bytes of a delta for each byte of the model. Measured on synthetic weights: benchmarks/deltas.py, 0.335."""
    pack_ns: float = Field(15.5, ge=0)
    """CPU nanoseconds to pack one parameter into a delta. Measured: benchmarks/deltas.py."""
    decode_ns: float = Field(4.9, ge=0)
    """CPU nanoseconds to decode one parameter of a delta while loading. Measured: benchmarks/deltas.py."""
    pass_ns: float = Field(1.6, ge=0)
    """CPU nanoseconds to compare one parameter in each pass over two models. Measured:
    benchmarks/restoration_select.py, 3.2 in two passes."""
    draw_seconds: float = Field(1.0, ge=0)
    """CPU seconds of a figure, a table, a training order. Measured: benchmarks/demo_time.py."""
    answer_bytes: float = Field(12, ge=0)
    """Bytes of one answer in answers.parquet. Measured on the demo."""
    job_bytes: float = Field(60e3, ge=0)
    """Bytes of summary, log and small tables that a job leaves. Measured on the demo."""
    trainings_at_once: int = Field(4, ge=1)
    """Trainings that run side by side, for the peak of the disk: each keeps two states of 12 bytes a parameter."""

"""A stage's settings in transformers' words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import TrainingArguments

from harness.jobs import CHECKPOINTS, TrainSettings
from harness.sharding import Sharding
from harness.train import operators
from harness.train.batches import Steps
from harness.train.checkpoints import WRITING

_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@dataclass
class StageArguments(TrainingArguments):  # type: ignore[misc]
    """Those of transformers, and who brings the precision."""

    autocast: bool = False
    """Whether the loop computes in bfloat16 over float32 weights; `bf16` leaves the precision to DeepSpeed."""


def arguments(
    settings: TrainSettings, steps: Steps, folder: Path, seed: int, sharding: Sharding | None = None
) -> StageArguments:
    """Those of one rank. Under DeepSpeed, its operators and its process group stand afterwards."""
    warmup = min(math.ceil(settings.warmup * len(steps)), len(steps) - 1)
    half = settings.dtype == "bfloat16"
    # ZeRO-0 has no float32 weights beside those of the model, and cannot sum their gradients in float32.
    by_deepspeed = sharding is not None and sharding.keeps_master_weights
    args = StageArguments(
        output_dir=str(folder / CHECKPOINTS / WRITING),
        max_steps=len(steps),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=steps.accumulation,
        learning_rate=settings.lr,
        lr_scheduler_type=_SCHEDULES[settings.schedule],
        warmup_steps=warmup,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.betas[0],
        adam_beta2=settings.betas[1],
        adam_epsilon=settings.eps,
        # Without a limit the norm is still wanted, and not every stage of ZeRO computes one that nobody clips with.
        max_grad_norm=settings.clip or math.inf,
        optim="adamw_torch_fused",
        bf16=half and by_deepspeed,
        autocast=half and not by_deepspeed,
        use_cpu=not torch.cuda.is_available(),
        deepspeed=sharding.filled() if sharding else None,
        # Every parameter takes part in every micro-batch, also in an empty one; looking for others costs time.
        ddp_find_unused_parameters=False,
        seed=seed,
        data_seed=seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    # On a machine of several GPUs transformers would wrap the model in DataParallel, which cannot split a packed row:
    # every GPU would compute the whole of it.
    args._n_gpu = min(args.n_gpu, 1)  # noqa: SLF001 -- transformers' own way to say so
    if sharding is not None:
        _ready(sharding, on_cpu=args.use_cpu)
    return args


def _ready(sharding: Sharding, *, on_cpu: bool) -> None:
    """What has to stand before any weights load under DeepSpeed."""
    import deepspeed

    operators.build(sharding, on_cpu=on_cpu)
    # DeepSpeed takes over the process group that stands; on a CPU nothing else tells it to.
    deepspeed.init_distributed("gloo" if on_cpu else None, auto_mpi_discovery=False)

"""What a stage tells when it is done: its result, equal for equal declarations, and what was measured on the way."""

from __future__ import annotations

from harness.canonical import Json
from harness.context import Context
from harness.train import acceleration, adapters
from harness.train.batches import MicroBatches
from harness.train.loop import StageTrainer
from harness.train.metrics import Metrics
from harness.train.process import peak_memory
from harness.train.stagedata import StageData
from harness.train.throughput import Meter, peak_tflops
from harness.train.world import World


def result(data: StageData, batches: MicroBatches, trainer: StageTrainer) -> Json:
    """Of a stage that has come to its end, or stopped early."""
    rows, losses = batches.corpus, Metrics(data.context.folder).losses
    order = batches.steps.order[: len(losses) * data.declared.settings.batch_size]
    return {
        "steps": len(losses),
        "examples": len(order),
        "tokens": int(rows.lengths[order].sum()),
        "scored_tokens": int(rows.scored[order].sum()),
        "truncated": rows.truncated,
        "dropped": rows.dropped,
        "special_in_text": rows.special_in_text,
        "datasets": {name: {**of, "content": data.contents[name]} for name, of in rows.counts(order).items()},
        "first_loss": losses[0],
        "final_loss": losses[-1],
        "template_digest": data.renderer.template_digest,
        "trained_parameters": adapters.trainable(trainer.model),
    }


def measured(context: Context, world: World, trainer: StageTrainer, meter: Meter) -> Json:
    """Time, memory and speed, and how the stage was executed; all processes call it."""
    execution, device, seconds = context.execution, trainer.args.device, trainer.seconds
    return {
        "seconds": seconds,
        "device_hours": seconds * world.size / 3600,
        "tokens_per_second": trainer.rate,
        "mfu": meter.mfu(seconds),
        "peak_tflops": peak_tflops(device, execution.peak_tflops),
        "peak_memory_bytes": int(world.highest(peak_memory(device))),
        "world_size": world.size,
        "launcher": execution.launcher,
        "deepspeed": execution.deepspeed,
        "layout": execution.layout,
        "execution": execution.model_dump(mode="json"),
        **acceleration.record(execution),
    }

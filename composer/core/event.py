"""The moments of a run at which methods and callbacks may act."""

from __future__ import annotations

from composer.utils.string_enum import StringEnum

__all__ = ["Event"]


class Event(StringEnum):
    r"""A named moment of a run.

    The loop in pseudo-code, with the events where they happen::

        # Trainer(...)
        <INIT>                              # surgery on the model
        <BEFORE_LOAD> load a checkpoint <AFTER_LOAD>

        # Trainer.fit()
        <FIT_START>
        <ITERATION_START>
        for epoch in ...:
            <EPOCH_START>
            while True:
                <BEFORE_DATALOADER>
                batch = next(dataloader)    # the loop ends where there is none
                <AFTER_DATALOADER>
                <BATCH_START>
                <BEFORE_TRAIN_BATCH>
                for microbatch in batch:
                    <BEFORE_FORWARD>  outputs = model(microbatch)       <AFTER_FORWARD>
                    <BEFORE_LOSS>     loss = model.loss(outputs, ...)   <AFTER_LOSS>
                    <BEFORE_BACKWARD> loss.backward()                   <AFTER_BACKWARD>
                <AFTER_TRAIN_BATCH>         # gradients are complete and unscaled
                optimizer.step(); the timestamp moves; schedulers step
                <BATCH_END>
                evaluate where it is due
                <BATCH_CHECKPOINT>
            <EPOCH_END>
            evaluate where it is due
            <EPOCH_CHECKPOINT>
        <ITERATION_END> <ITERATION_CHECKPOINT>      # only with an iteration length
        evaluate where it is due
        <FIT_END>

        # evaluation, wherever it is due
        <EVAL_BEFORE_ALL>
        for evaluator in evaluators:
            <EVAL_START>
            for batch in evaluator.dataloader:
                <EVAL_BATCH_START>
                for microbatch in batch:
                    <EVAL_BEFORE_FORWARD> outputs = model.eval_forward(...) <EVAL_AFTER_FORWARD>
                <EVAL_BATCH_END>
            <EVAL_END>
        <EVAL_AFTER_ALL>

        # Trainer.eval() puts these two around the evaluators in place of *_ALL
        <EVAL_STANDALONE_START> ... <EVAL_STANDALONE_END>

        # Trainer.predict()
        <PREDICT_START>
        for batch in dataloader:
            <PREDICT_BATCH_START>
            <PREDICT_BEFORE_FORWARD> outputs = model(batch) <PREDICT_AFTER_FORWARD>
            <PREDICT_BATCH_END>
        <PREDICT_END>
    """

    INIT = "init"
    BEFORE_LOAD = "before_load"
    AFTER_LOAD = "after_load"
    FIT_START = "fit_start"

    ITERATION_START = "iteration_start"
    EPOCH_START = "epoch_start"
    BEFORE_DATALOADER = "before_dataloader"
    AFTER_DATALOADER = "after_dataloader"
    BATCH_START = "batch_start"
    BEFORE_TRAIN_BATCH = "before_train_batch"
    BEFORE_FORWARD = "before_forward"
    AFTER_FORWARD = "after_forward"
    BEFORE_LOSS = "before_loss"
    AFTER_LOSS = "after_loss"
    BEFORE_BACKWARD = "before_backward"
    AFTER_BACKWARD = "after_backward"
    AFTER_TRAIN_BATCH = "after_train_batch"
    BATCH_END = "batch_end"
    BATCH_CHECKPOINT = "batch_checkpoint"
    EPOCH_END = "epoch_end"
    EPOCH_CHECKPOINT = "epoch_checkpoint"
    ITERATION_END = "iteration_end"
    ITERATION_CHECKPOINT = "iteration_checkpoint"

    FIT_END = "fit_end"

    EVAL_BEFORE_ALL = "eval_before_all"
    EVAL_START = "eval_start"
    EVAL_BATCH_START = "eval_batch_start"
    EVAL_BEFORE_FORWARD = "eval_before_forward"
    EVAL_AFTER_FORWARD = "eval_after_forward"
    EVAL_BATCH_END = "eval_batch_end"
    EVAL_END = "eval_end"
    EVAL_AFTER_ALL = "eval_after_all"

    EVAL_STANDALONE_START = "eval_standalone_start"
    EVAL_STANDALONE_END = "eval_standalone_end"

    PREDICT_START = "predict_start"
    PREDICT_BATCH_START = "predict_batch_start"
    PREDICT_BEFORE_FORWARD = "predict_before_forward"
    PREDICT_AFTER_FORWARD = "predict_after_forward"
    PREDICT_BATCH_END = "predict_batch_end"
    PREDICT_END = "predict_end"

    @property
    def is_before_event(self) -> bool:
        """Whether the event opens something (``BEFORE_*`` and ``*_START``)."""
        return "before_" in self.value or self.value.endswith("_start")

    @property
    def is_after_event(self) -> bool:
        """Whether the event closes something (``AFTER_*`` and ``*_END``)."""
        return "after_" in self.value or self.value.endswith("_end")

    @property
    def canonical_name(self) -> str:
        """What is opened or closed: the name without ``before_``, ``_end`` and their like."""
        name = self.value.replace("before_", "").replace("after_", "")
        return name.removesuffix("_start").removesuffix("_end")

    @property
    def is_predict(self) -> bool:
        """Whether the event belongs to prediction."""
        return self.value.startswith("predict")

    @property
    def is_eval(self) -> bool:
        """Whether the event belongs to evaluation."""
        return self.value.startswith("eval")

from composer.optim.curves import ConstantScheduler as ConstantScheduler
from composer.optim.curves import CosineAnnealingScheduler as CosineAnnealingScheduler
from composer.optim.curves import (
    CosineAnnealingWarmRestartsScheduler as CosineAnnealingWarmRestartsScheduler,
)
from composer.optim.curves import ExponentialScheduler as ExponentialScheduler
from composer.optim.curves import LinearScheduler as LinearScheduler
from composer.optim.curves import MultiStepScheduler as MultiStepScheduler
from composer.optim.curves import PolynomialScheduler as PolynomialScheduler
from composer.optim.curves import StepScheduler as StepScheduler
from composer.optim.decoupled_weight_decay import DecoupledAdamW as DecoupledAdamW
from composer.optim.decoupled_weight_decay import DecoupledSGDW as DecoupledSGDW
from composer.optim.muon import Muon as Muon
from composer.optim.parameter_split import ParameterSplit as ParameterSplit
from composer.optim.parameter_split import split_parameters as split_parameters
from composer.optim.scale_schedule import scale_pytorch_scheduler as scale_pytorch_scheduler
from composer.optim.schedule import ComposerScheduler as ComposerScheduler
from composer.optim.schedule_free import ScheduleFreeAdamW as ScheduleFreeAdamW
from composer.optim.schedule_free import ScheduleFreeSGD as ScheduleFreeSGD
from composer.optim.scheduler import CompiledScheduler as CompiledScheduler
from composer.optim.scheduler import compile_composer_scheduler as compile_composer_scheduler
from composer.optim.warmup import ConstantWithWarmupScheduler as ConstantWithWarmupScheduler
from composer.optim.warmup import (
    CosineAnnealingWithWarmupScheduler as CosineAnnealingWithWarmupScheduler,
)
from composer.optim.warmup import LinearWithWarmupScheduler as LinearWithWarmupScheduler
from composer.optim.warmup import MultiStepWithWarmupScheduler as MultiStepWithWarmupScheduler
from composer.optim.warmup import PolynomialWithWarmupScheduler as PolynomialWithWarmupScheduler
from composer.optim.warmup import WarmupStableDecayScheduler as WarmupStableDecayScheduler

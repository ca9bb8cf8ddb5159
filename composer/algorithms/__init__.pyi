from composer.algorithms.blurpool import BlurPool as BlurPool
from composer.algorithms.channels_last import ChannelsLast as ChannelsLast
from composer.algorithms.cutmix import CutMix as CutMix
from composer.algorithms.ema import EMA as EMA
from composer.algorithms.gradient_clipping import GradientClipping as GradientClipping
from composer.algorithms.gyro_dropout import GyroDropout as GyroDropout
from composer.algorithms.label_smoothing import LabelSmoothing as LabelSmoothing
from composer.algorithms.layer_freezing import LayerFreezing as LayerFreezing
from composer.algorithms.low_precision_groupnorm import (
    LowPrecisionGroupNorm as LowPrecisionGroupNorm,
)
from composer.algorithms.low_precision_layernorm import (
    LowPrecisionLayerNorm as LowPrecisionLayerNorm,
)
from composer.algorithms.mixup import MixUp as MixUp
from composer.algorithms.progressive_resizing import ProgressiveResizing as ProgressiveResizing
from composer.algorithms.sam import SAM as SAM
from composer.algorithms.sam import SAMOptimizer as SAMOptimizer
from composer.algorithms.selective_backprop import SelectiveBackprop as SelectiveBackprop
from composer.algorithms.stochastic_depth import StochasticDepth as StochasticDepth

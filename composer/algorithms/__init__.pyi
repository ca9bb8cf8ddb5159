from composer.algorithms.activation_checkpointing import (
    ActivationCheckpointing as ActivationCheckpointing,
)
from composer.algorithms.alibi import Alibi as Alibi
from composer.algorithms.alternating_flip import AlternatingFlip as AlternatingFlip
from composer.algorithms.augmix import AugmentAndMixTransform as AugmentAndMixTransform
from composer.algorithms.augmix import AugMix as AugMix
from composer.algorithms.batch_size_schedule import BatchSizeSchedule as BatchSizeSchedule
from composer.algorithms.blurpool import BlurPool as BlurPool
from composer.algorithms.channels_last import ChannelsLast as ChannelsLast
from composer.algorithms.colout import ColOut as ColOut
from composer.algorithms.colout import ColOutTransform as ColOutTransform
from composer.algorithms.cutmix import CutMix as CutMix
from composer.algorithms.cutout import CutOut as CutOut
from composer.algorithms.ema import EMA as EMA
from composer.algorithms.factorize import Factorize as Factorize
from composer.algorithms.fused_linear_cross_entropy import (
    FusedLinearCrossEntropy as FusedLinearCrossEntropy,
)
from composer.algorithms.gated_linear_units import GatedLinearUnits as GatedLinearUnits
from composer.algorithms.ghost_batchnorm import GhostBatchNorm as GhostBatchNorm
from composer.algorithms.gradient_clipping import GradientClipping as GradientClipping
from composer.algorithms.gyro_dropout import GyroDropout as GyroDropout
from composer.algorithms.infobatch import InfoBatch as InfoBatch
from composer.algorithms.label_smoothing import LabelSmoothing as LabelSmoothing
from composer.algorithms.lawa import LAWA as LAWA
from composer.algorithms.layer_freezing import LayerFreezing as LayerFreezing
from composer.algorithms.low_precision_groupnorm import (
    LowPrecisionGroupNorm as LowPrecisionGroupNorm,
)
from composer.algorithms.low_precision_layernorm import (
    LowPrecisionLayerNorm as LowPrecisionLayerNorm,
)
from composer.algorithms.mixup import MixUp as MixUp
from composer.algorithms.no_op_model import NoOpModel as NoOpModel
from composer.algorithms.progressive_resizing import ProgressiveResizing as ProgressiveResizing
from composer.algorithms.randaugment import RandAugment as RandAugment
from composer.algorithms.randaugment import RandAugmentTransform as RandAugmentTransform
from composer.algorithms.sam import SAM as SAM
from composer.algorithms.sam import SAMOptimizer as SAMOptimizer
from composer.algorithms.scheduled_weight_decay import (
    ScheduledWeightDecay as ScheduledWeightDecay,
)
from composer.algorithms.selective_backprop import SelectiveBackprop as SelectiveBackprop
from composer.algorithms.seq_length_warmup import SeqLengthWarmup as SeqLengthWarmup
from composer.algorithms.squeeze_excite import SqueezeExcite as SqueezeExcite
from composer.algorithms.squeeze_excite import SqueezeExcite2d as SqueezeExcite2d
from composer.algorithms.squeeze_excite import SqueezeExciteConv2d as SqueezeExciteConv2d
from composer.algorithms.stochastic_depth import StochasticDepth as StochasticDepth
from composer.algorithms.swa import SWA as SWA
from composer.algorithms.weight_standardization import (
    WeightStandardization as WeightStandardization,
)
from composer.algorithms.whitening import Whitening as Whitening

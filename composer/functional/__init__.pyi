from composer.algorithms.activation_checkpointing import (
    apply_activation_checkpointing as apply_activation_checkpointing,
)
from composer.algorithms.alibi import apply_alibi as apply_alibi
from composer.algorithms.alternating_flip import (
    alternating_flip_batch as alternating_flip_batch,
)
from composer.algorithms.augmix import augmix_image as augmix_image
from composer.algorithms.blurpool import apply_blurpool as apply_blurpool
from composer.algorithms.channels_last import apply_channels_last as apply_channels_last
from composer.algorithms.colout import colout_batch as colout_batch
from composer.algorithms.cutmix import cutmix_batch as cutmix_batch
from composer.algorithms.cutout import cutout_batch as cutout_batch
from composer.algorithms.ema import compute_ema as compute_ema
from composer.algorithms.factorize import apply_factorization as apply_factorization
from composer.algorithms.fused_linear_cross_entropy import (
    apply_fused_linear_cross_entropy as apply_fused_linear_cross_entropy,
)
from composer.algorithms.gated_linear_units import (
    apply_gated_linear_units as apply_gated_linear_units,
)
from composer.algorithms.ghost_batchnorm import apply_ghost_batchnorm as apply_ghost_batchnorm
from composer.algorithms.gradient_clipping import apply_gradient_clipping as apply_gradient_clipping
from composer.algorithms.gyro_dropout import apply_gyro_dropout as apply_gyro_dropout
from composer.algorithms.infobatch import prune_samples as prune_samples
from composer.algorithms.label_smoothing import smooth_labels as smooth_labels
from composer.algorithms.layer_freezing import freeze_layers as freeze_layers
from composer.algorithms.low_precision_groupnorm import (
    apply_low_precision_groupnorm as apply_low_precision_groupnorm,
)
from composer.algorithms.low_precision_layernorm import (
    apply_low_precision_layernorm as apply_low_precision_layernorm,
)
from composer.algorithms.mixup import mixup_batch as mixup_batch
from composer.algorithms.progressive_resizing import resize_batch as resize_batch
from composer.algorithms.randaugment import randaugment_image as randaugment_image
from composer.algorithms.selective_backprop import select_using_loss as select_using_loss
from composer.algorithms.selective_backprop import (
    should_selective_backprop as should_selective_backprop,
)
from composer.algorithms.seq_length_warmup import (
    set_batch_sequence_length as set_batch_sequence_length,
)
from composer.algorithms.squeeze_excite import apply_squeeze_excite as apply_squeeze_excite
from composer.algorithms.stochastic_depth import apply_stochastic_depth as apply_stochastic_depth
from composer.algorithms.weight_standardization import (
    apply_weight_standardization as apply_weight_standardization,
)
from composer.algorithms.whitening import apply_whitening as apply_whitening

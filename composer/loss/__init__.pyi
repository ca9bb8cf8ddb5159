from composer.loss.fused_linear import linear_cross_entropy as linear_cross_entropy
from composer.loss.loss import DiceLoss as DiceLoss
from composer.loss.loss import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from composer.loss.loss import loss_registry as loss_registry
from composer.loss.loss import soft_cross_entropy as soft_cross_entropy

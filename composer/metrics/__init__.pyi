from composer.metrics.metrics import CrossEntropy as CrossEntropy
from composer.metrics.metrics import Dice as Dice
from composer.metrics.metrics import LossMetric as LossMetric
from composer.metrics.metrics import MIoU as MIoU

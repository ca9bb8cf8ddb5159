from composer.ablation.arms import Arm as Arm
from composer.ablation.records import Record as Record
from composer.ablation.report import Report as Report
from composer.ablation.runner import Ablation as Ablation
from composer.ablation.runner import ablate as ablate
from composer.ablation.statistics import Comparison as Comparison
from composer.ablation.statistics import compare as compare

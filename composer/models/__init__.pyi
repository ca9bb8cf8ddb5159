from composer.models.base import ComposerModel as ComposerModel
from composer.models.tasks.classification import ComposerClassifier as ComposerClassifier

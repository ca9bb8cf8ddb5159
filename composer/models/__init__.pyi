from composer.models.base import ComposerModel as ComposerModel
from composer.models.initializers import Initializer as Initializer
from composer.models.tasks.classification import ComposerClassifier as ComposerClassifier

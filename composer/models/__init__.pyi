from composer.models.base import ComposerModel as ComposerModel
from composer.models.huggingface import HuggingFaceModel as HuggingFaceModel
from composer.models.huggingface import (
    write_huggingface_pretrained_from_composer_checkpoint as write_huggingface_pretrained_from_composer_checkpoint,
)
from composer.models.initializers import Initializer as Initializer
from composer.models.tasks.classification import ComposerClassifier as ComposerClassifier

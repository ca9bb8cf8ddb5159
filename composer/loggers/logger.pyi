from composer.core.logger import *

from composer.utils.warnings import *

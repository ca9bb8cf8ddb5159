from composer.distributed.reproducibility import *

from composer.distributed.comm import *

from composer.distributed.config import *

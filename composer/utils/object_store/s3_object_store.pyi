from composer.storage.s3 import *

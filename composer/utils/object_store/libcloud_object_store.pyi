from composer.storage.libcloud import *

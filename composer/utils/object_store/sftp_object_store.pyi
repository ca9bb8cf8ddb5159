from composer.storage.sftp import *

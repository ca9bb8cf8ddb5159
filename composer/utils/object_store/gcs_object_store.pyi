from composer.storage.gcs import *

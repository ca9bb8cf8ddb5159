from composer.storage.remote_uploader import *

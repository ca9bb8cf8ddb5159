from composer.checkpoint.download import download_checkpoint as download_checkpoint
from composer.checkpoint.load_run import load_checkpoint as load_checkpoint
from composer.checkpoint.load_run import safe_torch_load as safe_torch_load
from composer.checkpoint.partial_path import PartialFilePath as PartialFilePath
from composer.checkpoint.save_run import get_save_filename as get_save_filename
from composer.checkpoint.save_run import save_checkpoint as save_checkpoint

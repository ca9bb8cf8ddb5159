from composer.checkpoint.download import (
    download_monolithic_checkpoint as download_monolithic_checkpoint,
)
from composer.checkpoint.load_run import read_checkpoint as read_checkpoint
from composer.checkpoint.retention import Retention as Retention
from composer.checkpoint.state_dict import get_metadata_state_dict as get_metadata_state_dict
from composer.checkpoint.state_dict import get_model_state_dict as get_model_state_dict
from composer.checkpoint.state_dict import get_optim_state_dict as get_optim_state_dict
from composer.checkpoint.state_dict import get_resumption_state_dict as get_resumption_state_dict
from composer.checkpoint.upload import upload_file as upload_file

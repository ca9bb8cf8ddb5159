from composer.core.logger import Logger as Logger
from composer.core.logger_destination import LoggerDestination as LoggerDestination
from composer.loggers.cometml_logger import CometMLLogger as CometMLLogger
from composer.loggers.console_logger import ConsoleLogger as ConsoleLogger
from composer.loggers.file_logger import FileLogger as FileLogger
from composer.loggers.in_memory_logger import InMemoryLogger as InMemoryLogger
from composer.loggers.mlflow_logger import MLFlowLogger as MLFlowLogger
from composer.loggers.progress_bar_logger import ProgressBarLogger as ProgressBarLogger
from composer.loggers.remote_uploader_downloader import (
    RemoteUploaderDownloader as RemoteUploaderDownloader,
)
from composer.loggers.slack_logger import SlackLogger as SlackLogger
from composer.loggers.tensorboard_logger import TensorboardLogger as TensorboardLogger
from composer.loggers.wandb_logger import WandBLogger as WandBLogger

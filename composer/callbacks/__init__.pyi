from composer.callbacks.activation_monitor import ActivationMonitor as ActivationMonitor
from composer.callbacks.checkpoint_saver import CheckpointSaver as CheckpointSaver
from composer.callbacks.early_stopper import EarlyStopper as EarlyStopper
from composer.callbacks.export_for_inference import (
    ExportForInferenceCallback as ExportForInferenceCallback,
)
from composer.callbacks.free_outputs import FreeOutputs as FreeOutputs
from composer.callbacks.generate import Generate as Generate
from composer.callbacks.hang_monitor import HangMonitor as HangMonitor
from composer.callbacks.image_visualizer import ImageVisualizer as ImageVisualizer
from composer.callbacks.load_checkpoint import LoadCheckpoint as LoadCheckpoint
from composer.callbacks.loss_spike_monitor import LossSpikeMonitor as LossSpikeMonitor
from composer.callbacks.lr_monitor import LRMonitor as LRMonitor
from composer.callbacks.memory_monitor import MemoryMonitor as MemoryMonitor
from composer.callbacks.memory_snapshot import MemorySnapshot as MemorySnapshot
from composer.callbacks.nan_monitor import NaNMonitor as NaNMonitor
from composer.callbacks.oom_observer import OOMObserver as OOMObserver
from composer.callbacks.optimizer_monitor import OptimizerMonitor as OptimizerMonitor
from composer.callbacks.runtime_estimator import RuntimeEstimator as RuntimeEstimator
from composer.callbacks.speed_monitor import SpeedMonitor as SpeedMonitor
from composer.callbacks.stall_monitor import StallMonitor as StallMonitor
from composer.callbacks.system_metrics_monitor import SystemMetricsMonitor as SystemMetricsMonitor
from composer.callbacks.threshold_stopper import ThresholdStopper as ThresholdStopper

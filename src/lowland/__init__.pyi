from . import flat as flat
from .deploy.predict import Predictor as Predictor
from .deploy.predict import load as load
from .evidence.verdict_of import verdict as verdict
from .flat import FlatLoRA as FlatLoRA
from .ground.mistakes import Mistake as Mistake
from .lora import FusedLoRA as FusedLoRA
from .lora import LoRAConfig as LoRAConfig
from .lora import LoRAEmbedding as LoRAEmbedding
from .lora import LoRALinear as LoRALinear
from .lora import add_lora as add_lora
from .lora import count_parameters as count_parameters
from .lora import fuse as fuse
from .lora import load_adapter as load_adapter
from .lora import lora_plus_groups as lora_plus_groups
from .lora import merge_lora as merge_lora
from .lora import remove_lora as remove_lora
from .lora import save_adapter as save_adapter
from .lora import unfuse as unfuse
from .lora import unmerge_lora as unmerge_lora
from .report.study import summary as summary
from .study.recipe import Recipe as Recipe
from .study.run import run_study as run_study

__version__: str

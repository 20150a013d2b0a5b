"""The workloads."""

from chaos.workload import Workload
from chaos.workloads.administrator import Administrator
from chaos.workloads.append import Append
from chaos.workloads.bank import Bank
from chaos.workloads.batch import Batch
from chaos.workloads.cascades import Cascades
from chaos.workloads.hot import Hot
from chaos.workloads.large import Large
from chaos.workloads.prepared import Prepared
from chaos.workloads.reborn import Reborn
from chaos.workloads.triggers import Triggers

WORKLOADS: tuple[type[Workload], ...] = (Hot, Reborn, Bank, Append, Batch, Large, Cascades, Triggers, Prepared, Administrator)

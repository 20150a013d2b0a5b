"""The workloads."""

from chaos.workload import Workload
from chaos.workloads.append import Append
from chaos.workloads.bank import Bank
from chaos.workloads.batch import Batch
from chaos.workloads.hot import Hot
from chaos.workloads.large import Large
from chaos.workloads.prepared import Prepared
from chaos.workloads.reborn import Reborn

WORKLOADS: tuple[type[Workload], ...] = (Hot, Reborn, Bank, Append, Batch, Large, Prepared)

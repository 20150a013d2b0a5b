"""The report of a run: what was done, what was found, and how to do it again."""

from collections import Counter
from dataclasses import dataclass, field

from chaos.options import Options
from chaos.workload import Finding

MISSED_SHOWN = 3


@dataclass
class Report:
    """``operations`` are counts by workload and ending, ``rows`` the sizes of the tables, ``faults`` what was done, ``missed`` what could not be."""

    options: Options
    operations: dict[str, Counter] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def converged(self) -> bool:
        return not self.findings

    def counts(self) -> str:
        """Write what was done, a line a workload."""
        lines = []
        for name, counts in self.operations.items():
            lines.append(f"{name:<14}{counts['ok']:>7} ok {counts['failed']:>6} failed {counts['unknown']:>4} unknown")
        missed = f", {len(self.missed)} more struck nothing" if self.missed else ""
        lines.append(f"{len(self.faults)} faults{missed}")
        if self.rows:
            lines.append("rows: " + ", ".join(f"{table} {count}" for table, count in self.rows.items()))
        return "\n".join(lines)

    def found(self) -> str:
        """Write what was found, and the command that repeats the run."""
        return "\n".join([*map(str, self.findings), f"faults: {'; '.join(self.faults) or 'none'}", f"again: {self.options.command()}"])

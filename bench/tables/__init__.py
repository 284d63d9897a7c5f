"""From a plan and records to tables: cells, which candidate counts, comparisons, verdicts, captions."""

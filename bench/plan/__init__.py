"""From what is declared to its runs: experiments, tables of papers, and what the command line changes."""

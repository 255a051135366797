"""Back-tests of margins on price history: coverage, independence, shortfall, size."""

"""A paper's tables again: train, measure, compare with what was published."""

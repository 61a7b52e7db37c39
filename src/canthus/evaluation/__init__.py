"""Errors of predicted landmarks, the tables and pictures made of them, and what a network costs."""

"""Calibration: problems with known answers, a model's samples of each graded, and what these say of the model."""

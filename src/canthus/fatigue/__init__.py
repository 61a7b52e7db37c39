"""Signs of fatigue in a video: blinks, closures, yawns, nods and PERCLOS. All times are in seconds."""

"""Signs of tiredness from landmarks: blinks, closures, yawns, nods, PERCLOS; everything in seconds."""

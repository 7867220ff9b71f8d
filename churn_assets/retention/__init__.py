"""From probabilities to a list that a retention manager can act on, and to what became of it."""

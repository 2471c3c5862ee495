"""What the answers are worth: metrics, protocols, peers, tables and the verdict on each claim."""

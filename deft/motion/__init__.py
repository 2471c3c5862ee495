"""From aligned frames to evidence: optical flow, rigid head motion removed, region courses, unit by unit scores."""

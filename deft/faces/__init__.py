"""From a frame to a face: find it, mark it with 68 landmarks, align the clip, divide it into 36 regions."""

//! Rules: parses Sigma v2 detections and correlations and matches one event to a sorted list of rule ids; pure.

//! Run: the loop, dispatch, retry and timers as state machines, used by the binary and by the simulation alike.

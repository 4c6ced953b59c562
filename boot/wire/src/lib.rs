//! What node and server say to each other.

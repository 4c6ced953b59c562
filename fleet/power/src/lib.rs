//! Power and boot device of a node behind one trait: QEMU, no-op.

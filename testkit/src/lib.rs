//! What whole-system tests stand on: a fake archive, QEMU, network namespaces. Dev-dependency only.

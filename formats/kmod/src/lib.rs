//! Kernel modules: what a module says of itself, the files `depmod` writes about all of them, and the way from a
//! device's modalias to the modules to load, in order.
//!
//! | module | holds |
//! |---|---|
//! | [`modinfo`] | [`ModuleInfo`]: the `.modinfo` section of one module (ELF) |
//! | [`index`] | [`Index`]: many modules to `modules.dep`, `.alias`, `.softdep`, … as text and as libkmod's `.bin` |
//! | [`alias`] | [`AliasIndex`]: modalias to modules, by a hash of each pattern's literal beginning |
//! | [`layers`] | [`Layers`]: the files about modules that lie in several layers of a root, as one |
//! | [`modules`] | [`Modules`]: the indexes read back; [`Plan`]: what to load, in which order, what may run in parallel |
//! | [`pattern`] | the wildcards of `modules.alias` |
//! | [`name`] | one spelling for a module's name |
//! | [`cmdline`] | what the kernel command line says about modules: parameters, blacklist |
//!
//! Sources: kmod's manual pages depmod(8), depmod.d(5), modules.dep(5), modprobe.d(5); the ELF-64 object file format;
//! the kernel's `include/linux/module.h` and `scripts/mod/`.
//!
//! Bytes in, bytes out: opens no file, loads nothing, decompresses nothing. The init uses it, so it has no dependency
//! but `thiserror`. Modules are hostile input here: nothing panics, and no length that a file claims is believed.
//!
//! ```
//! use overboot_kmod::Modules;
//! let modules = Modules::parse(
//!     "kernel/drivers/net/virtio_net.ko: kernel/net/core/failover.ko\nkernel/net/core/failover.ko:\n",
//!     "alias virtio:d00000001v* virtio_net\n",
//!     "",
//!     "",
//! )?;
//! let wanted = modules.find("virtio:d00000001v00001AF4");
//! let plan = modules.plan(wanted);
//! let paths: Vec<&str> = plan.steps().iter().map(|step| step.path).collect();
//! assert_eq!(paths, ["kernel/net/core/failover.ko", "kernel/drivers/net/virtio_net.ko"]);
//! # Ok::<(), overboot_kmod::Error>(())
//! ```

pub mod alias;
pub mod cmdline;
mod elf;
mod error;
pub mod index;
pub mod layers;
pub mod modinfo;
pub mod modules;
pub mod name;
pub mod pattern;
mod softdep;
mod trie;

pub use alias::AliasIndex;
pub use cmdline::ModuleOptions;
pub use error::Error;
pub use index::{Builtin, Index, Installed, Missing};
pub use layers::Layers;
pub use modinfo::ModuleInfo;
pub use modules::{ModuleId, Modules, Plan, Step};
pub use softdep::SoftDependency;

//! What can be wrong with a module or with an index file.

/// Why a module or an index file could not be read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no ELF object file, or one whose headers point outside of it.
    #[error("not a kernel module: {what} (ELF, {length} bytes)")]
    Elf {
        /// What is wrong with it.
        what: &'static str,
        /// How many bytes there were.
        length: usize,
    },
    /// An ELF file without a `.modinfo` section: an object file, but no kernel module.
    #[error("not a kernel module: the ELF file has no .modinfo section")]
    NoModinfo,
    /// A module's `.modinfo` holds something that no index file can express.
    #[error(
        "the module's .modinfo has {key}={value:?}, which holds a space, a line end or a control character"
    )]
    Value {
        /// The key in `.modinfo`.
        key: &'static str,
        /// The value, shortened.
        value: String,
    },
    /// Two modules of one name: the kernel would refuse the second, and no index can name both.
    #[error("two modules are called {name:?}: {first} and {second}")]
    Duplicate {
        /// The normalised name.
        name: String,
        /// The path that came first.
        first: String,
        /// The other path.
        second: String,
    },
    /// Modules that need each other in a circle: none can be loaded first.
    #[error("modules depend on each other in a circle: {}", names.join(" -> "))]
    Cycle {
        /// The names of the modules on the circle or behind it, sorted.
        names: Vec<String>,
    },
    /// A line of an index file is not of the form that depmod writes.
    #[error("{file} line {line}: {what}")]
    Line {
        /// The file's name, such as `modules.dep`.
        file: &'static str,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More modules, text or trie than the formats (or good sense) allow.
    #[error("{what}: more than {limit}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

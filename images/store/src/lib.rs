//! The OCI image layout that holds everything built.
